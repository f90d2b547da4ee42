"""An engine that another package brings through the entry points `moi.engines`: one file, found by everything."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from forked import ForkServer
from installed_package import install_package
from moi_engines.registry import BUILT_IN

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[3]
# It decodes with the torch engine, but shouts, forms its own batches and needs a folder of its own.
SOURCE = """
import sys
from dataclasses import replace
from pathlib import Path

from moi_engines import EngineSpec
from moi_engines.torch_engine import TorchEngine


class Shouting(TorchEngine):
    name = "shouting"

    def __init__(self, model, *, device="auto", loudness=1):
        folder = Path(model)
        assert folder.name == "prepared" or not (folder / "unprepared").exists()
        super().__init__(model, device="cpu")

    def stream(self, *args, **kwargs):
        for event in super().stream(*args, **kwargs):
            yield replace(event, text=event.text.upper())


def prepare(model, scratch, workload):
    folder = scratch / "prepared"
    if not folder.exists():
        folder.symlink_to(model, target_is_directory=True)
    return folder


def server(folder, args):
    code = "import sys; print('serving', *sys.argv[1:])"
    return [sys.executable, "-c", code, folder.name, str(args.port), *args.flags]


SPEC = EngineSpec(
    "shouting", Shouting, library="pytest", prepare=prepare, batches_itself=True, server=server, baseline="a whisper"
)
"""


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shouting")
    return install_package(folder, "shouting", "shouting_engine:SPEC", SOURCE, group="moi.engines")


@pytest.fixture(scope="module")
def moi(fork_server: ForkServer) -> Callable[..., str]:
    """moi(folder, argument, ...) -> what a `moi` command prints, or complains about if it is refused, that finds the
    packages in this folder installed.
    """

    def run(path: Path, *argv: str, status: int = 0) -> str:
        environ = {**os.environ, "PYTHONPATH": str(path), "OMP_NUM_THREADS": "1"}
        done = fork_server.run(["-m", "moi", *argv], environ)
        assert done.returncode == status, done.stderr[-4000:]
        return done.stdout if status != 2 else done.stderr

    return run


def test_generate_decodes_with_it(moi: Any, package: Path) -> None:
    argv = ["--prompt", "18 7 7 > 67 :", "--max-new-tokens", "45", "--temperature", "0", "--json"]
    found = json.loads(moi(package, "generate", "--engine", "shouting", "--device", "cpu", *argv))
    usual = json.loads(moi(package, "generate", *argv))
    assert found["engine"] == "shouting"
    assert found["outputs"][0]["token_ids"] == usual["outputs"][0]["token_ids"]
    assert "OK" in found["outputs"][0]["text"]
    assert "ok" in usual["outputs"][0]["text"]


def test_only_the_options_that_it_has_are_taken(moi: Any, package: Path) -> None:
    error = moi(package, "generate", "--engine", "shouting", "--prompt", "a", "--dtype", "float32", status=2)
    assert "--dtype is not an option of the engine shouting; of: torch, sglang" in error


def test_serve_starts_its_server(moi: Any, package: Path) -> None:
    assert (
        moi(package, "serve", "--engine", "shouting", "--port", "1", "--", "--loud") == "serving countdown 1 --loud\n"
    )


def test_doctor_lists_it(moi: Any, package: Path) -> None:
    report = json.loads(moi(package, "doctor", "--json"))
    assert list(report["engines"])[-1] == "shouting"
    assert report["engines"]["shouting"] == {"usable": True, "reason": None}
    assert report["versions"]["pytest"] == pytest.__version__
    assert moi(package, "doctor", "--backend", "shouting") == "shouting: usable\n"


def test_selftest_judges_it(moi: Any, package: Path) -> None:
    report = json.loads(moi(package, "selftest", "--backend", "shouting", "--json"))
    assert report["backends"]["shouting"]["verdict"] == "agrees"


def test_eval_decodes_with_it(moi: Any, package: Path, tmp_path: Path) -> None:
    out = tmp_path / "results.jsonl"
    argv = ["eval", "countdown", "--engine", "shouting", "--n", "2", "--policy", "token", "--out", str(out), "--json"]
    report = json.loads(moi(package, *argv, "--max-new-tokens", "40"))
    assert (report["settings"]["engine"], report["settings"]["batch"]) == ("shouting", 1024)
    assert report["arms"][0]["done"] == 2
    assert moi(package, *argv, "--max-new-tokens", "40"), "the file is complete: it is shown again"


def test_bench_engines_measures_it(moi: Any, package: Path) -> None:
    flags = ["--model", "embedded", "--batch", "2", "--context", "6", "--new-tokens", "4", "--repeats", "1", "--json"]
    (row,) = json.loads(moi(package, "bench", "engines", "--engine", "shouting", *flags))
    assert (row["engine"], row["status"], row["baseline"]) == ("shouting", "ok", "a whisper")
    assert row["versions"]["pytest"] == pytest.__version__


def test_its_file_is_imported_when_it_is_asked_for(package: Path) -> None:
    code = (
        "import sys, moi.cli, moi_engines\n"
        "assert 'shouting' in moi_engines.ENGINES\n"
        "loaded = [name for name in sys.modules if name.endswith('_engine')]\n"
        "assert not loaded, loaded\n"
        "assert moi_engines.ENGINES['shouting'].options == ('device', 'loudness')\n"
        "hosts = ('transformers', 'onnxruntime', 'sglang', 'tensorrt', 'tensorrt_rtx')\n"
        "assert all(spec.name == name for name, spec in moi_engines.ENGINES.items())\n"
        "assert not [host for host in hosts if host in sys.modules]"
    )
    environ = {**os.environ, "PYTHONPATH": str(package)}
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("name", "source", "reason"),
    [
        ("bad", "1 / 0", "bad_engine:SPEC of bad cannot be loaded: ZeroDivisionError"),
        ("bad", "SPEC = 3", "of bad must be an EngineSpec named 'bad', got 3"),
        ("torch", "from moi_engines.torch_engine import SPEC", "there is an engine 'torch' already"),
    ],
)
def test_a_broken_entry_point_is_one_line_that_names_it(
    moi: Any, tmp_path: Path, name: str, source: str, reason: str
) -> None:
    folder = install_package(tmp_path, name, "bad_engine:SPEC", source, group="moi.engines")
    (line,) = moi(folder, "generate", "--prompt", "a", status=2).splitlines()
    assert line.startswith(f"moi generate: error: engine entry point {name} = bad_engine:SPEC")
    assert reason in line


def test_nobody_else_knows_an_engine_by_its_name() -> None:
    """No file that serves all engines compares with, or looks up by, the name of one."""
    own = ("registry", "torch_", "onnx_", "sglang_", "tensorrt_", "environment")  # the last names libraries
    bench = ROOT / "benchmarks" / "moi_bench"
    shared = [*(ROOT / "engines").rglob("*.py"), bench / "engines.py", *(bench / "engine").rglob("*.py")]
    found = []
    for file in [
        *shared,
        *(ROOT / "benchmarks").glob("*/eval/*.py"),
        *(ROOT / "benchmarks" / "moi_eval").rglob("*.py"),
    ]:
        if file.name.startswith(own):
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            keys = node.keys if isinstance(node, ast.Dict) else getattr(node, "comparators", [])
            names = {part.value for key in keys if key for part in ast.walk(key) if isinstance(part, ast.Constant)}
            if names & {*BUILT_IN}:
                found.append(f"{file.relative_to(ROOT)}:{node.lineno} {sorted(map(str, names))}")  # type: ignore[attr-defined]
    assert not found
