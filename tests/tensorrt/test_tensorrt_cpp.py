"""examples/tensorrt_cpp: compiled as users compile it, and its loop run against the torch engine's tokens.

There is no GPU here and no package with TensorRT's headers. So the file is compiled against recorded declarations and
CUDA's real header, and linked with a fake runtime whose steps ONNX Runtime runs from the graph; the engine's sidecar is
a real one. What is not shown here is that TensorRT runs the steps.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tensorrt_cpp import RECORDED, Peer, build, cuda_headers
from tensorrt_exports import export_once

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
from moi import MoIConfig
from moi_engines.parity import FLOAT32, Cases, Output, judge
from moi_engines.parity_margin import Choices
from moi_engines.parity_reference import Reference
from moi_engines.protocol import SamplingParams

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("tensorrt_rtx") is None, reason="tensorrt-rtx not installed"),
    pytest.mark.skipif(shutil.which("g++") is None or shutil.which("make") is None, reason="no C++ compiler or make"),
]
PROMPTS = [[9, 8, 7, 6, 5], [42], [101, 32, 102, 111, 120, 3, 77]]
NEW_TOKENS = 16


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With warnings as errors, under AddressSanitizer."""
    headers = cuda_headers()
    if headers is None:
        pytest.skip("no cuda_runtime_api.h: Triton is not installed")
    out = tmp_path_factory.mktemp("cpp") / "generate"
    result = build(out, f"-I{RECORDED} -isystem {headers}", str(RECORDED / "fake_runtime.cpp"))
    assert result.returncode == 0, result.stderr
    return out


class World:
    """A tiny model, its export in ONNX Runtime, and its engine with its sidecar as `moi compile` wrote them."""

    def __init__(self, base: Path, folder: Path) -> None:
        self.model, self.export = export_once("qwen3", base)
        self.engine = folder / "model.engine"
        code = "import sys; from moi.cli import main; sys.exit(main(sys.argv[1:]))"
        chips = ("--runtime", "tensorrt-rtx", "--compute-capability", "8.9", "--max-batch", "4", "--max-prompt", "20")
        command = [sys.executable, "-c", code, "compile", str(self.export), "--out", str(self.engine), *chips]
        subprocess.run(command, check=True, capture_output=True, timeout=300)
        self.sidecar: dict[str, Any] = json.loads(Path(f"{self.engine}.json").read_text())
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.log_severity_level, options.intra_op_num_threads = 3, 1
        self.session = ort.InferenceSession(str(self.export / "model.onnx"), options)

    def changed(self, folder: Path, **changes: Any) -> Path:
        """The engine with a sidecar that says something else."""
        engine = folder / "model.engine"
        shutil.copy(self.engine, engine)
        Path(f"{engine}.json").write_text(json.dumps({**self.sidecar, **changes}))
        return engine

    def peer(self, **options: Any) -> Peer:
        return Peer(self.session, self.sidecar, **options)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.getbasetemp(), tmp_path_factory.mktemp("engine"))


def _flags(sampling: SamplingParams, moi: MoIConfig) -> list[str]:
    flags = ["--policy", moi.policy, "--max-new-tokens", str(sampling.max_new_tokens), "--seed", str(sampling.seed)]
    for name in ("temperature", "top_k", "top_p", "min_p"):
        flags += [f"--{name.replace('_', '-')}", str(getattr(sampling, name))]
    for name, value in moi.parameters:
        flags += ["--set", f"{name}={value}"]
    return [*flags, *["--ignore-eos"] * sampling.ignore_eos]


def _prompts(prompts: list[list[int]] = PROMPTS) -> list[str]:
    return [",".join(map(str, prompt)) for prompt in prompts]


def _tokens(result: subprocess.CompletedProcess[str]) -> list[list[int]]:
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    return [[int(part) for part in line.split(",")] for line in result.stdout.splitlines()]


def _cases(sampling: SamplingParams, moi: MoIConfig) -> Cases:
    rows = [dataclasses.replace(sampling, seed=sampling.seed + row) for row in range(len(PROMPTS))]
    return Cases(PROMPTS, rows, [moi] * len(PROMPTS))


def _sampling(**settings: Any) -> SamplingParams:
    return SamplingParams(max_new_tokens=NEW_TOKENS, **settings)


RUNS = {
    "greedy": (_sampling(temperature=0), MoIConfig()),
    "limited": (_sampling(temperature=0.8, top_k=12, seed=5), MoIConfig(beta=0.25, min_entropy=0.1)),
    "whole vocabulary": (_sampling(temperature=1.3, seed=(1 << 40) + 7, ignore_eos=True), MoIConfig()),
    "filtered": (_sampling(temperature=1.5, top_k=40, top_p=0.9, min_p=0.001, seed=1), MoIConfig("soft", top_p=0.8)),
    "plain": (_sampling(temperature=1.0, ignore_eos=True), MoIConfig("token")),
    "gumbel": (_sampling(temperature=0.9, top_k=10, seed=3), MoIConfig("gumbel")),
    "multiplex": (_sampling(temperature=0.9, top_k=16, seed=(1 << 32) - 2), MoIConfig("multiplex")),
}


@pytest.mark.parametrize("name", RUNS)
def test_the_loop_generates_what_the_torch_engine_does(program: Path, world: World, name: str) -> None:
    sampling, moi = RUNS[name]
    peer = world.peer()
    tokens = _tokens(peer.run(program, str(world.engine), *_flags(sampling, moi), *_prompts()))
    found = judge(Reference(world.model), _cases(sampling, moi), [Output(row) for row in tokens])
    assert found.agrees, str(found)
    assert peer.blob == world.engine.read_bytes()
    prefill, decode = world.sidecar["profiles"]["prefill"], world.sidecar["profiles"]["decode"]
    assert [step.profile for step in peer.steps] == [prefill] + [decode] * (len(peer.steps) - 1)
    assert len(peer.steps) == max(map(len, tokens))
    undecided = sum(
        not step.outputs["decided"][row]
        for at, step in enumerate(peer.steps)
        for row in range(3)
        if at < len(tokens[row])
    )
    assert bool(undecided) == (name in ("whole vocabulary", "filtered", "plain")), (
        "beyond 16 candidates, and only there"
    )


def test_a_loop_that_feeds_nothing_back_is_noticed(program: Path, world: World, tmp_path: Path) -> None:
    """The check that the checks check."""
    sampling, moi = _sampling(temperature=0, ignore_eos=True), MoIConfig()
    engine = world.changed(tmp_path, feeds={})
    tokens = _tokens(world.peer().run(program, str(engine), *_flags(sampling, moi), *_prompts()))
    assert judge(Reference(world.model), _cases(sampling, moi), [Output(row) for row in tokens]).departures


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_rows_beyond_the_candidates_are_drawn_from_logits_of_16_bits(
    program: Path, world: World, tmp_path: Path, dtype: str
) -> None:
    tensors = [{**each, "dtype": dtype} if each["name"] == "logits" else each for each in world.sidecar["tensors"]]
    engine, peer = world.changed(tmp_path, tensors=tensors), world.peer(logits=dtype)
    sampling = _sampling(temperature=1.4, top_p=0.97, min_p=0.0005, seed=11, ignore_eos=True)
    tokens = _tokens(peer.run(program, str(engine), *_flags(sampling, MoIConfig()), *_prompts()))
    judged = 0
    for at, step in enumerate(peer.steps):
        for row in np.flatnonzero(~step.outputs["decided"]):
            logits = torch.from_numpy(step.outputs["logits"][row])
            wide = _rounded(logits, dtype).double()
            choices = Choices(wide, sampling, float(step.inputs["noise"][row]))
            assert choices.margin(tokens[row][at]) < FLOAT32.margin, (at, row)
            judged += 1
    assert judged > 0


def _rounded(logits: torch.Tensor, dtype: str) -> torch.Tensor:
    """As the peer hands them over: bfloat16 by cutting bits off."""
    if dtype == "float16":
        return logits.half().float()
    return (logits.view(torch.int32) & -65536).view(torch.float32)


def _refusal(result: subprocess.CompletedProcess[str]) -> str:
    assert result.returncode == 2, result.stderr
    assert result.stdout == ""
    return result.stderr.strip()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["1"] * 5, "give 1 to 4 prompts (moi compile --max-batch)"),
        ([], "give 1 to 4 prompts (moi compile --max-batch)"),
        ([",".join(["1"] * 21)], "a prompt may have 20 ids (moi compile --max-prompt)"),
        (["--max-new-tokens", "94", "1,2,3"], "prompt and new tokens may have 96 positions (moi export --max-length)"),
        (["258"], "id 258 is not in the vocabulary"),
        (["1,x"], "'1,x' is not a list of ids such as 1,2,3"),
        (["--policy", "mix", "1"], "policy mix is unknown; allowed: token moi direct soft"),
        (["--set", "gamma=1", "1"], "policy moi has no parameter gamma"),
        (["--set", "beta=-1", "1"], "beta=-1.000000 is not allowed"),
        (["--temperature", "warm", "1"], "--temperature warm is not allowed"),
        (["--policy", "gumbel", "1"], "policy gumbel needs --top-k 1..16 in this program"),
        (["--beam", "1"], "unknown option --beam"),
    ],
)
def test_bad_requests_are_named(program: Path, world: World, arguments: list[str], message: str) -> None:
    peer = world.peer()
    assert _refusal(peer.run(program, str(world.engine), *arguments)).startswith(f"generate: {message}")
    assert peer.steps == []


def test_what_does_not_fit_the_sidecar_is_refused(program: Path, world: World, tmp_path: Path) -> None:
    def refusal(peer: Peer | None = None, **changes: Any) -> str:
        return _refusal((peer or world.peer()).run(program, str(world.changed(tmp_path, **changes)), "1"))

    assert refusal(world.peer(refuses=True)).endswith("this TensorRT or this GPU may be another")
    assert refusal(format=1).endswith("model.engine.json has another format; compile the engine again")
    tensors = world.sidecar["tensors"]
    assert refusal(tensors=tensors[:-1]) == "generate: the engine has tensors its sidecar lacks"
    renamed = [*tensors[:-1], {**tensors[-1], "name": "present"}]
    assert refusal(tensors=renamed) == "generate: the engine and its sidecar differ in present"
    narrow = [{**each, "dtype": "int32"} if each["name"] == "token" else each for each in tensors]
    assert refusal(tensors=narrow) == "generate: token has another type in the engine than in its sidecar"
    peer = world.peer()
    peer.profiles = json.loads(json.dumps(peer.profiles))
    peer.profiles["noise"]["decode"]["max"] = [9]
    assert refusal(peer).startswith("generate: noise has another largest shape in the engine's profile")
    assert "present.0.key has to be in the memory of past_key_values.0.key" in refusal(aliases={})
    Path(f"{world.changed(tmp_path)}.json").unlink()
    assert "model.engine.json cannot be read" in _refusal(
        world.peer().run(program, str(tmp_path / "model.engine"), "1")
    )


def test_a_sidecar_that_is_cut_short_is_an_error(program: Path, world: World, tmp_path: Path) -> None:
    engine = world.changed(tmp_path)
    text = Path(f"{engine}.json").read_text()
    for end in range(0, len(text), 701):
        Path(f"{engine}.json").write_text(text[:end])
        assert _refusal(world.peer().run(program, str(engine), "1")).startswith("generate: the sidecar ")


def test_recorded_declarations_have_the_numbers_of_the_real_bindings() -> None:
    """The enumerations go into calls as they are; C++ methods cannot be looked up in a library."""
    code = (
        "import json, tensorrt_rtx as t; print(json.dumps({e: {n: int(v) for n, v in getattr(t, e).__members__.items()}"
    )
    code += " for e in ('DataType', 'TensorIOMode', 'ExecutionContextAllocationStrategy')}))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    real, text = json.loads(result.stdout), (RECORDED / "NvInferRuntime.h").read_text()
    for enumeration, members in real.items():
        line = next(line for line in text.splitlines() if f"enum class {enumeration} " in line)
        told = dict(part.strip().split(" = ") for part in line[line.index("{") + 1 : line.index("}")].split(","))
        assert told
        assert {name: int(number) for name, number in told.items()}.items() <= {
            f"k{k}": v for k, v in members.items()
        }.items()


def test_the_library_has_the_function_that_real_headers_call() -> None:
    code = "import ctypes, glob, tensorrt_rtx_libs as t, os; "
    code += "print(*[bool(ctypes.CDLL(f).createInferRuntime_INTERNAL) for f in glob.glob(os.path.dirname(t.__file__) + "
    code += "'/libtensorrt_rtx.so*')])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert result.stdout.strip() == "True"


@pytest.mark.skipif("MOI_TENSORRT_INCLUDE" not in os.environ, reason="set MOI_TENSORRT_INCLUDE to NVIDIA's headers")
def test_it_compiles_against_nvidias_headers(tmp_path: Path) -> None:
    headers = cuda_headers()
    assert headers is not None
    includes = f"-isystem {os.environ['MOI_TENSORRT_INCLUDE']} -isystem {headers}"
    result = build(tmp_path / "generate.o", includes, "-c", "-Werror")
    assert result.returncode == 0, result.stderr
