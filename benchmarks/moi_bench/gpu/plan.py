"""The steps of the day of a GPU, in order of worth. Another step is another line of STEPS.

In a command, which is what follows `python`, $out is --out, $name the step, $tests the tests of the checkout, $model a
folder of --models, and $engine the best engine for it that is installed.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from string import Template


@dataclass(frozen=True)
class Way:
    """How a step is done.

    command      what follows `python`
    file         what it writes into --out; `figures.read` knows the kind by the contents
    needs        modules without which it is skipped
    environment  variables of its process besides `environment.variables`; None takes one away
    """

    command: str
    file: str
    needs: tuple[str, ...] = ()
    environment: Mapping[str, str | None] = field(default_factory=dict)

    def filled(self, words: Mapping[str, object]) -> Way:
        """With `words` in their places; a word with spaces stays one argument."""
        arguments = [Template(part).substitute(words) for part in shlex.split(self.command)]
        return replace(self, command=shlex.join(arguments), file=Template(self.file).substitute(words))


@dataclass(frozen=True)
class Step:
    """One step.

    what       it shows, in a line
    real       on a GPU
    rehearsal  the counterpart on a CPU, or the step whose rehearsal is this one's too
    seconds    it is ended after, however much of the budget is left
    each       "model": once for each folder of --models
    """

    name: str
    what: str
    real: Way
    rehearsal: Way | str
    seconds: int
    each: str = ""


def _pytest(tests: str, *needs: str, **environment: str | None) -> Way:
    """Tests of the checkout, whatever plugins of pytest are installed."""
    flags = "-p no:cacheprovider -o filterwarnings=default -o addopts=--import-mode=importlib"
    return Way(f"-m pytest -v {flags} --junitxml $out/$name.xml {tests}", "$name.xml", ("pytest", *needs), environment)


def _kernels(command: str, file: str, *needs: str) -> Way:
    return Way(f"-m moi_bench.kernels_gpu {command}", file, needs)


def _sglang(command: str, **environment: str | None) -> Way:
    command = f"-m moi_bench.sglang_decode {command} --out $out/$name.json"
    return Way(command, "$name.json", SGLANG, environment)


TRANSFORMERS = ("transformers", "huggingface_hub", "safetensors")
# SGLang imports pydantic, which imports the last.
SGLANG = ("sglang", *TRANSFORMERS, "pydantic", "typing_inspection")
EVAL = (*TRANSFORMERS, "scipy", "psutil", "pydantic", "rich")
SGLANG_ON_CPU: Mapping[str, str | None] = {"SGLANG_USE_CPU_ENGINE": "1", "TORCH_COMPILE_DISABLE": "1"}
SGLANG_ON_CPU = {**SGLANG_ON_CPU, "TRITON_INTERPRET": None, "MOI_ENABLE": None, "MOI_REHEARSE": "1"}
VLLM_ON_CPU: Mapping[str, str | None] = {"TRITON_DEFAULT_BACKEND": "cpu", "VLLM_USE_V2_MODEL_RUNNER": "1"}
# Of SGLang on a Hopper GPU, where only the batches that are measured need a graph.
OPTIONS = (
    '\'{"attention_backend":"fa3","sampling_backend":"pytorch","cuda_graph_bs_decode":[1,32,128],'
    '"disable_prefill_cuda_graph":true,"log_level":"warning"}\''
)
_TINY = (
    "--shape tiny --batch 2 --tokens 8 64 --rounds 1 --repeats 1 --no-host-time "
    '--options \'{"log_level":"warning","sleep_on_idle":true}\''
)

STEPS = (
    Step(
        "parity",
        "kernels against a float64 restatement, eager and replayed from a captured graph",
        _kernels("--part parity --out $out", "parity.json", "triton"),
        _kernels("--part parity --case official --device cpu --out $out", "parity.json", "triton"),
        seconds=180,
    ),
    Step(
        "op",
        "time of the op: eager, torch.compile, Triton, beside the bandwidth of a copy",
        _kernels("--part op --only eager torch.compile triton --out $out", "op.json", "triton"),
        _kernels("--part op --suite tiny --only eager numba --repeats 5 --device cpu --out $out", "op.json"),
        seconds=400,
    ),
    Step(
        "tests",
        "tests of the kernels and of the tables that servers keep, on the GPU",
        _pytest("$tests/unit/op/test_kernels.py $tests/unit/serving/test_sglang_slots.py -k 'not flashinfer'", "numpy"),
        _pytest(
            "$tests/unit/op/test_kernels.py -k 'test_parity and triton and one_id or test_parity and ties'", "numpy"
        ),
        seconds=240,
    ),
    Step(
        "sglang-parity",
        "SGLang with graphs and overlap: tokens by margin, of all policies",
        _pytest("$tests/gpu/test_sglang_graphs.py", *SGLANG),
        _pytest("$tests/gpu/test_sglang_graphs.py -k qwen2", *SGLANG, **SGLANG_ON_CPU),
        seconds=400,
    ),
    Step(
        "sglang",
        "throughput of SGLang, 1.5B: without the plugin and all mixed, in turn",
        _sglang(f"--shape qwen2.5-1.5b --batch 1 32 128 --options {OPTIONS}"),
        _sglang(_TINY, **SGLANG_ON_CPU),
        seconds=420,
    ),
    Step(
        "tensorrt",
        "the kernel of TensorRT's plugin through the CUDA driver",
        Way("-m moi_bench.tensorrt_gpu --json $out/tensorrt.json", "tensorrt.json"),
        _pytest("$tests/unit/benchmarks/test_tensorrt_gpu.py"),
        seconds=120,
    ),
    Step(
        "tensorrt-llm",
        "the TensorRT-LLM integration in captured graphs",
        _pytest("$tests/gpu/test_tensorrt_llm_graphs.py", *TRANSFORMERS),
        _pytest(
            "$tests/hosts/tensorrt_llm/test_tensorrt_llm_replay.py -k 'whatever and qwen2 and never'", *TRANSFORMERS
        ),
        seconds=180,
    ),
    Step(
        "sglang-32b",
        "the same throughput, 32B",
        _sglang(f"--shape qwq-32b --batch 1 32 128 --tokens 32 160 --repeats 2 --no-host-time --options {OPTIONS}"),
        "sglang",
        seconds=600,
    ),
    Step(
        "vllm",
        "throughput of vLLM, 0.6B: without the plugin and all mixed, in turn",
        Way("-m moi_bench.vllm_decode --shape qwen3-0.6b --out $out/vllm.json", "vllm.json", ("vllm",)),
        Way("-m moi_bench.vllm_decode --host-time --out $out/vllm.json", "vllm.json", ("vllm",), VLLM_ON_CPU),
        seconds=420,
    ),
    Step(
        "flashinfer",
        "time of the op over FlashInfer's top-K, which it compiles first",
        _kernels("--part op --only eager flashinfer --out $out/flashinfer", "flashinfer/op.json", "flashinfer"),
        _pytest("$tests/unit/op/test_kernels.py -k flashinfer_composition", "numpy"),
        seconds=420,
    ),
    Step(
        "eval",
        "accuracy of a real model, plain and mixed, on the same problems; the same command goes on",
        Way(
            "-m moi eval countdown --numbers 4 --n 1000 --samples 2 --policy token moi --temperature 0.6 --top-p 0.95 "
            "--max-new-tokens 2048 --engine $engine --model $model --out $out/$name.jsonl",
            "$name.jsonl",
            EVAL,
            {"SGLANG_IS_FLASHINFER_AVAILABLE": "false"},  # else it samples with what it has to compile for minutes
        ),
        Way(
            "-m moi eval countdown --n 4 --policy token moi --max-new-tokens 32 --out $out/$name.jsonl",
            "$name.jsonl",
            EVAL,
        ),
        seconds=24 * 3600,  # as many samples as the budget has time for
        each="model",
    ),
)
