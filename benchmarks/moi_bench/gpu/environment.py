"""What the process of a step finds: the packages of this checkout or installation, a site folder, settings of hosts."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.machinery import PathFinder
from pathlib import Path

import moi
from moi_bench.gpu.step import Way

ROOT = Path(__file__).parents[3]
SHELVES = ("src", "plugins", "engines", "export", "benchmarks")
NAME = "mixture-of-inputs"
# As pyproject.toml has them: hosts find their plugins by these.
ENTRY_POINTS = {"sglang.srt.plugins": "moi_sglang:load", "vllm.general_plugins": "moi_vllm:load"}
# A prepared SGLang may lie beside another version of its kernels, and there is no network.
_SITE = {
    **{"SGLANG_SKIP_SGL_KERNEL_VERSION_CHECK": "1", "SGLANG_USE_SGL_FA3_KERNEL": "1"},
    **{"FLASHINFER_DISABLE_VERSION_CHECK": "1", "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"},
}
_ON_CPU = {"CUDA_VISIBLE_DEVICES": "", "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}


def tests() -> Path | None:
    """The tests of the checkout; None of an installed package."""
    return found if (found := ROOT / "tests").joinpath("conftest.py").is_file() else None


@dataclass(frozen=True)
class Place:
    """Where a day is spent: --out, --site, --models, and whether it is a rehearsal."""

    out: Path
    site: Path | None = None
    models: Sequence[Path] = ()
    rehearse: bool = False


def folders(place: Place, way: Way) -> list[str]:
    """Of PYTHONPATH: the checkout, its entry points where it is not installed, stand-ins, the site, and what was on
    it. Absolute, for processes that change their folder."""
    site = place.site
    mine: list[Path] = []
    if (checkout := tests()) is not None:
        mine += [ROOT / shelf for shelf in SHELVES]
        if not _installed([str(site.resolve())] if site else []):
            mine.append(_entry_points(place.out / "entry_points"))
        mine += [checkout / name for name in way.stand_ins]
    mine += [site] if site else []
    before = [folder for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep) if folder]
    return list(dict.fromkeys([*(str(folder.resolve()) for folder in mine), *map(os.path.abspath, before)]))


def variables(place: Place, way: Way) -> dict[str, str]:
    """The environment of a step. What the user has set stays, except what the step and a rehearsal set."""
    found = {**(_of_site(place.site, place.out) if place.site else {}), **os.environ}
    found["PYTHONPATH"] = os.pathsep.join(folders(place, way))
    found["PYTHONUNBUFFERED"] = "1"  # what a step that is ended has said is in its log
    changes: dict[str, str | None] = {**(_ON_CPU if place.rehearse else {}), **way.environment}
    found |= {key: value for key, value in changes.items() if value is not None}
    return {key: value for key, value in found.items() if changes.get(key, "") is not None}


def missing(modules: Iterable[str], paths: list[str]) -> list[str]:
    """Those that a process with these folders before its own would not find."""
    return [name for name in modules if PathFinder.find_spec(name, [*paths, *sys.path]) is None]


def gpu() -> str | None:
    """Name, driver, compute capability, memory and load, as nvidia-smi tells them; None where it is not installed."""
    asked = "name,driver_version,compute_cap,memory.total,memory.used,utilization.gpu"
    try:
        done = subprocess.run(
            ["nvidia-smi", f"--query-gpu={asked}", "--format=csv,noheader"], capture_output=True, text=True, check=False
        )
    except OSError:
        return None
    return done.stdout.strip() or None


def _of_site(site: Path, out: Path) -> dict[str, str]:
    cache = (site if os.access(site, os.W_OK) else out / "cache").resolve()
    found = {**_SITE, "SGLANG_JIT_CACHE_DIR": str(cache / "jit"), "FLASHINFER_WORKSPACE_BASE": str(cache / "fi")}
    if "9.0" in (gpu() or "").split(", "):
        found["FLASHINFER_CUDA_ARCH_LIST"] = "9.0a"
    if compiler := shutil.which("nvcc"):
        found["CUDA_HOME"] = str(Path(compiler).resolve().parents[1])
    return found


def _installed(paths: list[str]) -> bool:
    """Whether a process would find the metadata of this package: hosts load plugins by it."""
    return any(importlib.metadata.distributions(name=NAME, path=[*paths, *sys.path]))


def _entry_points(folder: Path) -> Path:
    """The folder, with the metadata that pip would install."""
    metadata = folder / f"{NAME.replace('-', '_')}-{moi.__version__}.dist-info"
    metadata.mkdir(parents=True, exist_ok=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {NAME}\nVersion: {moi.__version__}\n")
    lines = [f"[{group}]\nmoi = {target}\n" for group, target in ENTRY_POINTS.items()]
    (metadata / "entry_points.txt").write_text("\n".join(lines))
    return folder
