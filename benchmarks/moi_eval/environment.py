"""Where results come from: the machine, the versions, the commit and the command."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

import moi

SCHEMA = 1
_SOURCES = (":/", ":(exclude,top)benchmarks/results")


def environment(device: torch.device) -> dict[str, Any]:
    """What every row and every results file of a run shares."""
    gpu = device.type == "cuda"
    return {
        "schema": SCHEMA,
        "device": torch.cuda.get_device_name(device) if gpu else processor(),
        "driver": _driver() if gpu else None,
        "versions": {
            "moi": moi.__version__,
            "torch": torch.__version__,
            "numba": version("numba"),
            "triton": version("triton"),
            "flashinfer": version("flashinfer-python"),
            "python": platform.python_version(),
        },
        "commit": commit(),
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
    }


def version(distribution: str) -> str | None:
    """Of an installed distribution; None of one that is not."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Model, cores and torch's threads, such as "AMD EPYC 7763 (2 cores), 1 thread"."""
    cores, threads = os.cpu_count(), torch.get_num_threads()
    return f"{_model(cpuinfo)} ({cores} cores), {threads} {'thread' if threads == 1 else 'threads'}"


def _model(cpuinfo: Path) -> str:
    """The processor's name; where the system has no such file, or an unnamed processor, what Python knows."""
    found = re.search(r"^model name\s*:\s*(.*\S)", cpuinfo.read_text(), re.M) if cpuinfo.exists() else None
    return found[1] if found else platform.processor() or platform.machine()


def _driver() -> str | None:
    """Version of the NVIDIA driver, or None where nvidia-smi is not installed."""
    found = _printed("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")
    return found.splitlines()[0] if found else None


def commit(file: Path = Path(__file__)) -> str | None:
    """The commit that `file` was checked out at; "-dirty" where tracked files changed; None unless git tracks the file.

    An installation in somebody's project is in that project's repository, whose commit says nothing of it. Results do
    not count: a run that is written into the checkout would spoil the next one's commit.
    """
    folder = file.parent
    if _printed("git", "-C", str(folder), "ls-files", "--error-unmatch", "--", file.name) is None:
        return None
    found = _printed("git", "-C", str(folder), "rev-parse", "--verify", "--quiet", "HEAD")
    changed = _printed("git", "-C", str(folder), "status", "--porcelain", "--untracked-files=no", "--", *_SOURCES)
    return f"{found}-dirty" if found and changed else found


def _printed(*command: str) -> str | None:
    """What a command prints, or None if there is no such command, or it prints nothing."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or None
    except OSError:
        return None
