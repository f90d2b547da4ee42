"""Every example and notebook is run as it stands, on the model that is installed with the project."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "examples"
SCRIPTS = {
    "offline_generation.py": ([], "Token by token"),
    "evaluate.py": (["--problems", "8"], "95 % interval"),
    "export_and_run.py": ([], "tokens are those of the torch engine"),
}
ELSEWHERE = {"openai_client.py"}  # tests/hosts/sglang/test_sglang_examples.py, which has a server


def cells() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((EXAMPLES / "quickstart.ipynb").read_text(encoding="utf-8"))["cells"]
    return found


def test_all_are_short_listed_and_run() -> None:
    scripts = {file.name: file for file in EXAMPLES.glob("*.py")}
    assert set(scripts) == {*SCRIPTS, *ELSEWHERE}
    listed = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    for file in (*scripts.values(), *EXAMPLES.glob("custom_policy/*.py")):
        assert len(file.read_text(encoding="utf-8").splitlines()) <= 60, file.name
        assert file.relative_to(EXAMPLES).as_posix() in listed


@pytest.mark.slow
@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_runs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, said = SCRIPTS[name]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    runpy.run_path(str(EXAMPLES / name), run_name="__main__")
    assert said in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_the_notebook_is_one_without_outputs() -> None:
    notebook = json.loads((EXAMPLES / "quickstart.ipynb").read_text(encoding="utf-8"))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in cells()}) == len(cells())
    for cell in cells():
        if cell["cell_type"] == "code":
            assert (cell["outputs"], cell["execution_count"]) == ([], None)


@pytest.mark.slow
def test_the_cells_of_the_notebook_run_in_their_order(capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {}
    for cell in cells():
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), cell["id"], "exec"), names)
            assert capsys.readouterr().out, cell["id"]


@pytest.mark.slow
def test_the_policy_is_a_package_that_pip_installs(tmp_path: Path) -> None:
    folder = EXAMPLES / "custom_policy"
    options = ("--quiet", "--no-index", "--no-deps", "--no-build-isolation", "--disable-pip-version-check")
    install = [sys.executable, "-m", "pip", "install", *options, "--target", str(tmp_path), str(folder)]
    subprocess.run(install, check=True, timeout=120, capture_output=True)
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    done = subprocess.run(
        [sys.executable, str(folder / "custom_policy.py")],
        env={**os.environ, "PYTHONPATH": path, "PYTHONWARNINGS": "ignore", "OMP_NUM_THREADS": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "policy='fade'" in done.stdout
