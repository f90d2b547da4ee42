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
from moi_compile.rules import policy_specs
from moi_compile.runtimes import RUNTIMES
from moi_compile.sidecar import PROFILES, Profile, Sidecar, read_sidecar, sidecar_path, source_hash, write_engine
from moi_compile.tensors import DTYPES, Range, TensorSpec
from moi_engines import load_engine
from moi_engines.parity import Cases, judge
from moi_engines.parity_reference import Reference
from moi_engines.protocol import SamplingParams
from moi_engines.tensorrt_engine import TensorRTEngine, TensorRTRTXEngine
from moi_onnx.manifest import read_manifest

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


TENSORS = (
    TensorSpec("noise", "input", "float32", ("batch",), {name: Range((1,), (8,), (8,)) for name in PROFILES}),
    TensorSpec(
        "past_key_values.0.key",
        "input",
        "float32",
        ("batch", 2, 96, 8),
        {name: Range((1, 2, 96, 8), (8, 2, 96, 8), (8, 2, 96, 8)) for name in PROFILES},
    ),
    TensorSpec("present.0.key", "output", "float32", ("batch", 2, 96, 8), {}),
    TensorSpec("token", "output", "int64", ("batch",), {}),
)


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
        TENSORS,
        {"present.0.key": "past_key_values.0.key"},
        read_manifest(folders[1])[1],
        policy_specs(read_manifest(folders[1])[1]),
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
        ({"model": None}, r"was not compiled from the export in .*: moi_config\.json differs"),
    ],
)
def test_an_engine_that_does_not_fit_is_named(
    compiled: tuple[Path, Path, Sidecar], change: dict[str, str], message: str
) -> None:
    engine, folder, sidecar = compiled
    with pytest.raises(ValueError, match=message):
        loading.check_engine(engine, folder, dataclasses.replace(sidecar, **change), RTX, "1.7.1.116")


class _Loaded:
    """An engine by the names of TensorRT's bindings, which says what the description does."""

    num_optimization_profiles = 2

    def __init__(self, tensors: tuple[TensorSpec, ...], aliases: dict[str, str]) -> None:
        self.tensors, self.aliases = {tensor.name: tensor for tensor in tensors}, aliases
        self.num_io_tensors = len(tensors)

    def get_tensor_name(self, index: int) -> str:
        return list(self.tensors)[index]

    def get_tensor_mode(self, name: str) -> Any:
        return SimpleNamespace(name=self.tensors[name].direction.upper())

    def get_tensor_dtype(self, name: str) -> Any:
        names = {told: own for own, told in DTYPES.items()}
        return SimpleNamespace(name=names[self.tensors[name].dtype])

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return tuple(-1 if isinstance(size, str) else size for size in self.tensors[name].shape)

    def get_aliased_input_tensor(self, name: str) -> str | None:
        return self.aliases.get(name)

    def get_tensor_profile_shape(self, name: str, profile: int) -> list[tuple[int, ...]]:
        own = list(self.tensors[name].profiles.values())[profile]
        return [own.min, own.opt, own.max]


def test_a_loaded_engine_is_what_its_sidecar_says(compiled: tuple[Path, Path, Sidecar]) -> None:
    file, _, sidecar = compiled
    loading.check_tensors(file, _Loaded(TENSORS, sidecar.aliases), sidecar, RTX)
    wide = {name: Range((1,), (8,), (9,)) for name in PROFILES}
    other = dataclasses.replace
    for tensors, aliases, message in (
        (TENSORS[:3], sidecar.aliases, "token is in one of them alone"),
        (TENSORS, {}, r"present\.0\.key has alias None, not past_key_values\.0\.key"),
        ((*TENSORS[:3], other(TENSORS[3], dtype="int32")), sidecar.aliases, "token has type int32, not int64"),
        ((*TENSORS[:3], other(TENSORS[3], shape=(4,))), sidecar.aliases, r"token has shape \(4,\), not \(-1,\)"),
        ((other(TENSORS[0], profiles=wide), *TENSORS[1:]), sidecar.aliases, r"noise has profile prefill .*\(9,\)"),
    ):
        with pytest.raises(ValueError, match=rf"is not what its sidecar describes \({message}.*compile it again"):
            loading.check_tensors(file, _Loaded(tensors, aliases), sidecar, RTX)
    single = _Loaded(TENSORS, sidecar.aliases)
    single.num_optimization_profiles = 1
    with pytest.raises(ValueError, match="1 profiles, not 2"):
        loading.check_tensors(file, single, sidecar, RTX)


def test_another_chip_is_refused(compiled: tuple[Path, Path, Sidecar]) -> None:
    sidecar = compiled[2]
    with pytest.raises(ValueError, match=r"compiled for compute capability 8\.6, 12\.0; this GPU has 8\.9"):
        loading.check_chip(sidecar, RTX, "8.9")
    with pytest.raises(ValueError, match=r"tensorrt-rtx runs on compute capability 7\.5.*this GPU has 9\.0"):
        loading.check_chip(sidecar, RTX, "9.0")


@pytest.mark.parametrize("text", ["{", "[]", '{"format": 1}', '{"format": 2}', '{"format": 2, "profile": {"a": 1}}'])
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
    assert PROFILES == {"prefill": 0, "decode": 1}


def test_what_tensorrt_refuses_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    step = _bare_step(_Context("set_input_shape"), monkeypatch)
    with pytest.raises(ValueError, match=r"a has shape \[2\], outside the engine's profile"):
        step.run({"a": torch.zeros(2)}, {}, prefill=True)
    step = _bare_step(_Context("execute_async_v3"), monkeypatch)
    with pytest.raises(RuntimeError, match="could not run the step: out of memory"):
        step.run({}, {}, prefill=True)
