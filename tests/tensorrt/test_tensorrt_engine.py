"""The TensorRT engine's own code on the CPU: the exported graph stands in for the compiled one.

Requests, buffers, feeding back and errors are the engine's; the step runs in ONNX Runtime. That TensorRT runs the
compiled step alike is for `moi selftest --backend tensorrt` on a machine that has it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tensorrt_exports import MAX_LENGTH, RuntimeStep, export_once

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
from moi import MoIConfig
from moi_compile import loading
from moi_compile.network import DECODE, PREFILL
from moi_compile.runtimes import RUNTIMES
from moi_compile.sidecar import Profile, Sidecar, read_sidecar, sidecar_path, source_hash, write_engine
from moi_engines import load_engine
from moi_engines.parity import Cases, judge
from moi_engines.parity_reference import Reference
from moi_engines.protocol import SamplingParams
from moi_engines.tensorrt_engine import TensorRTEngine, TensorRTRTXEngine

pytestmark = pytest.mark.slow

PROMPTS = ["abc", "the quick brown fox", [9, 8, 7, 6, 5], "z"]
MIXED = [MoIConfig(), MoIConfig(policy="token"), MoIConfig(beta=0.25), MoIConfig(policy="direct")]
SAMPLED = [
    SamplingParams(temperature=0, max_new_tokens=24),
    SamplingParams(temperature=0.8, max_new_tokens=24, top_k=30),
    SamplingParams(temperature=1.2, max_new_tokens=5, seed=5, ignore_eos=True),
    SamplingParams(temperature=1.0, max_new_tokens=9, seed=3, top_p=0.9, ignore_eos=True),
]


@pytest.fixture(scope="module", params=["qwen3", "gemma3"])
def folders(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return export_once(request.param, tmp_path_factory.getbasetemp())


def _engine(export: Path, profile: Profile | None = None, kind: Any = TensorRTEngine, **options: Any) -> Any:
    class OnTheCPU(kind):
        def _load(self, engine: Path, folder: Path, cuda_graphs: bool) -> Any:
            return RuntimeStep(folder), profile or Profile(8, MAX_LENGTH - 1, MAX_LENGTH, 21)

    return OnTheCPU(export, **options)


def test_it_decodes_as_the_torch_engine(folders: tuple[Path, Path]) -> None:
    model, export = folders
    engine = _engine(export)
    actual = engine.generate(PROMPTS, SAMPLED, MIXED)
    found = judge(Reference(model), Cases(PROMPTS, SAMPLED, MIXED), actual)
    assert found.agrees, str(found)
    runs = engine.runner.runs
    assert runs[0] == (True, (4, 19, 1))
    assert all(not prefill and shape[1:] == (1, 21) for prefill, shape in runs[1:])
    assert {shape[0] for _, shape in runs} > {4}, "finished rows are dropped"
    assert runs[-1][1][0] <= 2


def test_smaller_batches_decode_alike(folders: tuple[Path, Path]) -> None:
    model, export = folders
    sampling = SamplingParams(max_new_tokens=6, temperature=0.7)
    halves = _engine(export, batch_size=2).generate(PROMPTS, [sampling] * 4, MoIConfig())
    found = judge(Reference(model), Cases(PROMPTS, [sampling] * 4, [MoIConfig()] * 4), halves)
    assert found.agrees, str(found)


def test_the_export_limits_are_the_engines(folders: tuple[Path, Path]) -> None:
    _, export = folders
    engine = _engine(export, Profile(2, 10, MAX_LENGTH, 21))
    assert engine.batch_size == 2
    with pytest.raises(ValueError, match=r"prompt 1 has 11 tokens; the engine was compiled for 10 .*--max-prompt"):
        engine.generate(["a", "b" * 11], SamplingParams(max_new_tokens=1))
    with pytest.raises(ValueError, match=r"batch_size=3 is not allowed.*1\.\.2 rows .*--max-batch"):
        _engine(export, Profile(2, 10, MAX_LENGTH, 21), batch_size=3)
    with pytest.raises(ValueError, match="the model has 96 positions"):
        engine.generate(["a"], SamplingParams(max_new_tokens=96))
    with pytest.raises(ValueError, match="top_k=5 is not allowed; this engine was exported with top_k=20"):
        engine.generate(["a"], SamplingParams(max_new_tokens=1), MoIConfig(top_k=5))


# --- engine files ---------------------------------------------------------------------------------------------


@pytest.fixture
def compiled(folders: tuple[Path, Path], tmp_path: Path) -> tuple[Path, Path, Sidecar]:
    """A made-up engine file with a sidecar that fits it."""
    engine, data = tmp_path / "model.engine", b"not really an engine"
    sidecar = Sidecar(
        "tensorrt-rtx",
        "1.7.1.116",
        ("8.6", "12.0"),
        Profile(8, 95, 96, 21),
        {},
        None,
        source_hash(folders[1]),
        hashlib.sha256(data).hexdigest(),
    )
    write_engine(engine, data, sidecar)
    return engine, folders[1], sidecar


RTX = RUNTIMES["tensorrt-rtx"]


def test_a_sidecar_survives_the_disk(compiled: tuple[Path, Path, Sidecar]) -> None:
    engine, folder, sidecar = compiled
    assert read_sidecar(engine) == sidecar
    loading.check_engine(engine, folder, sidecar, RTX, "1.7.1.116")
    loading.check_chip(sidecar, RTX, "8.6")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"runtime": "tensorrt"}, "was compiled for tensorrt, not tensorrt-rtx; compile it again: moi compile export"),
        ({"version": "1.5.0"}, r"compiled with tensorrt-rtx 1\.5\.0, here is 1\.7\.1\.116"),
        ({"engine": "0"}, "is not the file its sidecar describes"),
        ({"source": "0"}, "was not compiled from the model.onnx in"),
    ],
)
def test_an_engine_that_does_not_fit_is_named(
    compiled: tuple[Path, Path, Sidecar], change: dict[str, str], message: str
) -> None:
    engine, folder, sidecar = compiled
    with pytest.raises(ValueError, match=message):
        loading.check_engine(engine, folder, dataclasses.replace(sidecar, **change), RTX, "1.7.1.116")


def test_another_chip_is_refused(compiled: tuple[Path, Path, Sidecar]) -> None:
    sidecar = compiled[2]
    with pytest.raises(ValueError, match=r"compiled for compute capability 8\.6, 12\.0; this GPU has 8\.9"):
        loading.check_chip(sidecar, RTX, "8.9")
    with pytest.raises(ValueError, match=r"tensorrt-rtx runs on compute capability 7\.5.*this GPU has 9\.0"):
        loading.check_chip(sidecar, RTX, "9.0")


@pytest.mark.parametrize("text", ["{", "[]", '{"format": 2}', '{"format": 1}', '{"format": 1, "profile": {"a": 1}}'])
def test_a_broken_sidecar_is_named(compiled: tuple[Path, Path, Sidecar], text: str) -> None:
    engine = compiled[0]
    sidecar_path(engine).write_text(text)
    with pytest.raises(ValueError, match=r"model\.engine\.json is not the sidecar of a MoI engine"):
        read_sidecar(engine)


def test_missing_files_say_how_to_make_them(folders: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"model\.engine does not exist; compile one with: moi compile"):
        load_engine("tensorrt_rtx", folders[1])
    with pytest.raises(FileNotFoundError, match="moi export"):
        load_engine("tensorrt", tmp_path)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_without_a_gpu_a_good_engine_is_refused(
    compiled: tuple[Path, Path, Sidecar], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, folder, _ = compiled
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", SimpleNamespace(__version__="1.7.1.116", __spec__=object()))
    with pytest.raises(RuntimeError, match="PyTorch finds none here"):
        TensorRTRTXEngine(folder, engine=engine)


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moi_compile.runtimes.find_spec", lambda name: None)
    for name, chosen in RUNTIMES.items():
        with pytest.raises(ImportError, match=rf"pip install 'mixture-of-inputs\[{name}\]'"):
            chosen.load()


# --- the step on a GPU, with TensorRT replaced by a record of what it is told ---------------------------------


class _Context:
    def __init__(self, refuse: str | None = None) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.refuse = refuse

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any) -> bool:
            self.calls.append((name, *args))
            return name != self.refuse

        return call


def _bare_step(context: _Context, monkeypatch: pytest.MonkeyPatch) -> Any:
    from moi_engines.tensorrt_step import EngineStep

    monkeypatch.setattr(torch.cuda, "current_stream", lambda: SimpleNamespace(cuda_stream=77))
    step = EngineStep.__new__(EngineStep)
    step._contexts, step._logger = {True: context, False: context}, SimpleNamespace(last="out of memory")
    return step


def test_every_tensor_is_bound_before_the_step_is_enqueued(monkeypatch: pytest.MonkeyPatch) -> None:
    context = _Context()
    given, out = torch.zeros(2, 3), torch.zeros(4)
    _bare_step(context, monkeypatch).run({"a": given}, {"b": out}, prefill=False)
    assert context.calls == [
        ("set_input_shape", "a", (2, 3)),
        ("set_tensor_address", "a", given.data_ptr()),
        ("set_tensor_address", "b", out.data_ptr()),
        ("execute_async_v3", 77),
    ]
    assert (PREFILL, DECODE) == (0, 1)


def test_what_tensorrt_refuses_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    step = _bare_step(_Context("set_input_shape"), monkeypatch)
    with pytest.raises(ValueError, match=r"a has shape \[2\], outside the engine's profile"):
        step.run({"a": torch.zeros(2)}, {}, prefill=True)
    step = _bare_step(_Context("execute_async_v3"), monkeypatch)
    with pytest.raises(RuntimeError, match="could not run the step: out of memory"):
        step.run({}, {}, prefill=True)
