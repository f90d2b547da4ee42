"""Rows say what they were measured on: processor, driver, and whether the commit is all there is to it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import torch

from moi_eval import environment


def git(folder: Path, *argv: str) -> str:
    command = ["git", "-c", "user.name=t", "-c", "user.email=t@t", *argv]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def test_a_changed_checkout_is_marked_and_results_are_no_change(tmp_path: Path) -> None:
    results = tmp_path / "benchmarks" / "results"
    results.mkdir(parents=True)
    for path in (tmp_path / "a.py", results / "op.json"):
        path.write_text("1")
    git(tmp_path, "init")
    git(tmp_path, "add", ".")
    assert environment.commit(tmp_path / "a.py") is None  # nothing committed yet
    git(tmp_path, "commit", "-m", "first")
    head = git(tmp_path, "rev-parse", "HEAD")
    (results / "op.json").write_text("2")
    (tmp_path / "new.py").write_text("not tracked")
    assert environment.commit(results / "op.json") == head
    (tmp_path / "a.py").write_text("2")
    assert environment.commit(results / "op.json") == f"{head}-dirty"


def test_outside_a_checkout_there_is_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    (tmp_path / "a.py").write_text("1")
    assert environment.commit(tmp_path / "a.py") is None


def test_the_repository_of_somebody_elses_project_around_an_installation_is_not_ours(tmp_path: Path) -> None:
    installed = tmp_path / ".venv" / "environment.py"
    installed.parent.mkdir()
    for path in (tmp_path / "theirs.py", installed):
        path.write_text("1")
    git(tmp_path, "init")
    git(tmp_path, "add", "theirs.py")
    git(tmp_path, "commit", "-m", "first")
    assert environment.commit(tmp_path / "theirs.py") == git(tmp_path, "rev-parse", "HEAD")
    assert environment.commit(installed) is None


def test_the_processor_is_named(tmp_path: Path) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text("processor\t: 0\nmodel name\t: Some Xeon 8\n\nprocessor\t: 1\nmodel name\t: Some Xeon 8\n")
    threads = torch.get_num_threads()
    assert environment.processor(info).startswith("Some Xeon 8 (")
    assert environment.processor(info).endswith("1 thread" if threads == 1 else f"{threads} threads")
    info.write_text("Hardware: unnamed\n")
    assert environment.processor(info)[:2] not in ("", " (")


def test_the_driver_is_asked_on_a_gpu_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "H100")
    smi = tmp_path / "nvidia-smi"
    smi.write_text("#!/bin/sh\necho 570.86.15\necho 570.86.15\n")
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    found = environment.environment(torch.device("cuda"))
    assert (found["device"], found["driver"]) == ("H100", "570.86.15")
    assert environment.environment(torch.device("cpu"))["driver"] is None
    smi.unlink()
    assert environment.environment(torch.device("cuda"))["driver"] is None
