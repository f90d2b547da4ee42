"""Peak memory of a run: the device's where there is a GPU, else the resident set of the process and its children."""

from __future__ import annotations

import contextlib
from pathlib import Path

import torch

_PROC = Path("/proc")


def reset() -> None:
    """Start a new peak."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        return
    for process in _family():
        with contextlib.suppress(OSError):  # not Linux: the peak then counts from the start of the process
            (process / "clear_refs").write_text("5")


def peak() -> tuple[int | None, str]:
    """(bytes, what they are of); None where the system does not say."""
    if torch.cuda.is_available():
        if torch.cuda.max_memory_allocated():
            return torch.cuda.max_memory_allocated(), "torch's allocator"
        free, total = torch.cuda.mem_get_info()
        return total - free, "all of the device in use"
    sizes = [_high_water(process) for process in _family()]
    return (sum(sizes) if any(sizes) else None), "resident set, children included"


def _high_water(process: Path) -> int:
    try:
        lines = (process / "status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), 0)


def _family() -> list[Path]:
    """Of this process and its descendants, what Linux says of them; psutil knows no peak there."""
    import psutil

    own = psutil.Process()
    return [_PROC / str(process.pid) for process in (own, *own.children(recursive=True))]
