"""A folder for PYTHONPATH that holds an installed package, as pip leaves it: a module, and the line that names it."""

from __future__ import annotations

from pathlib import Path


def install_package(folder: Path, name: str, target: str, source: str, group: str = "moi.policies") -> Path:
    """The folder, with `source` as the module of `target` ("module:attribute") and an entry point `name` of `group`."""
    (folder / f"{target.split(':')[0]}.py").write_text(source)
    return install_metadata(folder, name, f"[{group}]\n{name} = {target}\n")


def install_metadata(folder: Path, name: str, entry_points: str) -> Path:
    """The folder, with the metadata of a package whose files are there and that has these entry points."""
    metadata = folder / f"{name}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(entry_points)
    return folder
