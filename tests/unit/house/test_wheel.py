"""What is shipped: the source distribution, the wheel built of it, and that wheel alone in a fresh environment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PACKAGES = sorted(
    file.parent.name
    for shelf in ("src", "plugins", "engines", "export", "benchmarks")
    for file in (ROOT / shelf).glob("*/__init__.py")
)
# What a checkout has and neither building nor testing needs.
LEFT_OUT = {".gitignore"}


def run(*command: object, cwd: Path, **environ: str) -> str:
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env={**_environment(), **environ},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}{done.stderr[-4000:]}"
    return done.stdout


def _environment() -> dict[str, str]:
    """This one without what would lead to the checkout."""
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    return {**kept, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore", "PYTHONSAFEPATH": "1"}


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked source distribution."""
    folder = tmp_path_factory.mktemp("sdist")
    run(sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", folder, cwd=ROOT)
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as file:
        file.extractall(folder, filter="data")
    return folder / archive.name.removesuffix(".tar.gz")


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built of the source distribution, as `python -m build` does."""
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=sdist)
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a fresh environment that has the wheel, and behind it the libraries that are here."""
    folder = tmp_path_factory.mktemp("fresh")
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder)
    made = folder / "bin" / "python"
    (site,) = (folder / "lib").glob("python*/site-packages")
    # As plain lines: their own .pth files, one of which may name this checkout, are not read.
    libraries = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    (site / "libraries.pth").write_text("\n".join(libraries))
    options = ("--quiet", "--no-index", "--no-deps", "--ignore-installed", "--disable-pip-version-check")
    run(sys.executable, "-m", "pip", "--python", made, "install", *options, wheel, cwd=folder)
    return made


def test_the_source_distribution_has_what_is_tracked(sdist: Path) -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("not a checkout of git")
    tracked = set(run("git", "ls-files", "--cached", "-z", cwd=ROOT).split("\0")) - {""} - LEFT_OUT
    shipped = {path.relative_to(sdist).as_posix() for path in sdist.rglob("*") if path.is_file()}
    assert sorted(name for name in tracked - shipped if (ROOT / name).exists()) == []
    assert sorted(name for name in shipped if name.endswith((".pyc", ".engine", ".onnx"))) == []


def test_the_wheel_has_all_packages_with_their_data_and_types(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == set(PACKAGES)
    assert {name for name in names if name.endswith("/py.typed")} == {f"{each}/py.typed" for each in PACKAGES}
    assert "moi_tensorrt/kernel.cu" in names
    assert "moi_engines/models/countdown/model.safetensors" in names
    for shelf in ("src", "plugins", "engines", "export", "benchmarks"):
        for package in PACKAGES:
            on_disk = {
                file.relative_to(ROOT / shelf).as_posix()
                for file in (ROOT / shelf / package).rglob("*")
                if file.is_file() and "__pycache__" not in file.parts
            }
            assert on_disk <= names


def test_every_package_comes_from_the_wheel(python: Path, tmp_path: Path) -> None:
    code = f"""
import importlib, importlib.metadata, json
files = {{name: importlib.import_module(name).__file__ for name in {PACKAGES!r}}}
installed = importlib.metadata.distribution("mixture-of-inputs")
points = sorted((point.group, point.value) for point in installed.entry_points)
print(json.dumps([files, points, str(installed.locate_file(""))]))
"""
    files, points, location = json.loads(run(python, "-c", code, cwd=tmp_path))
    home = python.parents[1]
    assert all(Path(file).is_relative_to(home) for file in files.values()), files
    assert Path(location).is_relative_to(home)
    assert ["console_scripts", "moi.cli:main"] in points
    assert ["sglang.srt.plugins", "moi_sglang:load"] in points
    assert ["vllm.general_plugins", "moi_vllm:load"] in points


@pytest.mark.slow
def test_the_installed_commands_work(python: Path, tmp_path: Path) -> None:
    from moi import __version__

    moi = python.parent / "moi"
    assert run(moi, "--version", cwd=tmp_path) == f"mixture-of-inputs {__version__}\n"
    demo = json.loads(run(moi, "demo", "--problems", "4", "--policy", "moi", "--json", cwd=tmp_path))
    assert [(score["policy"], score["problems"]) for score in demo["scores"]] == [("moi", 4)]
    command = ("generate", "--prompt", "18 7 7 > 67 :", "--beta", "0.5", "--seed", "1", "--json")
    (output,) = json.loads(run(moi, *command, cwd=tmp_path))["outputs"]
    assert output["text"]
    assert output["mixed_tokens"] == len(output["token_ids"]) - 1
