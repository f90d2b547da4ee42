"""docs/extending.md: every example is run as it stands, as a package that another project brings."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from documented import Command, blocks, commands, file_name
from installed_package import install_metadata

ROOT = Path(__file__).parents[3]


class Section(NamedTuple):
    """A section of the page: its files, the entry points that it registers, and what it has the reader type."""

    files: dict[str, str]
    entry_points: str
    commands: list[Command]

    @classmethod
    def of(cls, text: str) -> Section:
        found = blocks(text)
        files = {file_name(code): code for kind, code in found if kind == "python"}
        points = "".join(code for kind, code in found if kind == "toml")
        return cls(files, points, [each for kind, code in found if kind == "console" for each in commands(code)])


def sections() -> dict[str, Section]:
    _, *parts = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8").split("\n## ")
    return {part.splitlines()[0]: Section.of(part) for part in parts}


def install(section: Section, folder: Path) -> None:
    """The files of a section, with the metadata that pip would write of its entry points."""
    for name, code in section.files.items():
        (folder / name).write_text(code)
    group = re.search(r'\[project\.entry-points\."(.*)"\]', section.entry_points)
    if group is not None:
        install_metadata(folder, "example", section.entry_points.replace(group[0], f"[{group[1]}]").replace('"', ""))


@pytest.mark.slow
@pytest.mark.parametrize("name", sections())
def test_the_example_runs(name: str, tmp_path: Path) -> None:
    section = sections()[name]
    install(section, tmp_path)
    environ = {**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONWARNINGS": "ignore", "OMP_NUM_THREADS": "1"}
    environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    assert section.commands
    for command, shown in section.commands:
        done = subprocess.run(
            command, shell=True, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        for line in shown:
            assert line in done.stdout + done.stderr, f"{command}: {line!r} is not in\n{done.stdout}{done.stderr}"


def test_the_page_has_the_five_seams() -> None:
    assert list(sections()) == ["A policy", "An engine", "A host", "A refusal", "A task"]
