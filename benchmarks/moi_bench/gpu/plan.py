"""The steps of the day of a GPU, in order of worth. Another step is another line of STEPS."""

from __future__ import annotations

from typing import Any

from moi_bench.gpu.step import Step, Way


def _pytest(tests: str, *needs: str, **rest: Any) -> Way:
    """Tests of the checkout, whatever plugins of pytest are installed."""
    flags = "-p no:cacheprovider -o filterwarnings=default -o addopts=--import-mode=importlib"
    return Way(f"-m pytest -v {flags} --junitxml $out/$name.xml {tests}", "$name.xml", ("pytest", *needs), **rest)


def _kernels(command: str, file: str, *needs: str) -> Way:
    return Way(f"-m moi_bench.kernels_gpu {command}", file, needs)


def _sglang(command: str, **rest: Any) -> Way:
    return Way(f"-m moi_bench.sglang_decode {command} --out $out/$name.json", "$name.json", SGLANG, **rest)


TRANSFORMERS = ("transformers", "huggingface_hub", "safetensors")
# SGLang imports pydantic, which imports the last.
SGLANG = ("sglang", *TRANSFORMERS, "pydantic", "typing_inspection")
EVAL = (*TRANSFORMERS, "scipy", "psutil", "pydantic", "rich")
SGLANG_ON_CPU: dict[str, Any] = {
    "environment": {
        **{"SGLANG_USE_CPU_ENGINE": "1", "TORCH_COMPILE_DISABLE": "1", "MOI_REHEARSE": "1"},
        **{"TRITON_INTERPRET": None, "MOI_ENABLE": None},
    },
    "stand_ins": ("stubs_sglang",),
}
VLLM_ON_CPU: dict[str, Any] = {
    "environment": {"TRITON_DEFAULT_BACKEND": "cpu", "VLLM_USE_V2_MODEL_RUNNER": "1", "VLLM_NO_USAGE_STATS": "1"},
    "stand_ins": ("stubs_vllm",),
}
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
        _kernels("--part parity --only reference triton --out $out", "parity.json", "triton"),
        _kernels("--part parity --only triton --case official --device cpu --out $out", "parity.json", "triton"),
        seconds=150,
    ),
    Step(
        "op",
        "time of the op: eager and Triton, beside the bandwidth of a copy",
        _kernels("--part op --only eager triton --out $out", "op.json", "triton"),
        _kernels("--part op --suite tiny --only eager --repeats 5 --device cpu --out $out", "op.json"),
        seconds=240,
    ),
    Step(
        "sglang-parity",
        "SGLang with graphs and overlap: tokens by margin, of all policies",
        _pytest("$tests/gpu/test_sglang_graphs.py", *SGLANG),
        _pytest("$tests/gpu/test_sglang_graphs.py -k qwen2", *SGLANG, **SGLANG_ON_CPU),
        seconds=300,
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
        seconds=90,
    ),
    Step(
        "tensorrt-llm",
        "the TensorRT-LLM integration in captured graphs",
        _pytest("$tests/gpu/test_tensorrt_llm_graphs.py", *TRANSFORMERS),
        _pytest("$tests/hosts/tensorrt_llm/test_tensorrt_llm_replay.py -k steady", *TRANSFORMERS),
        seconds=180,
    ),
    Step(
        "tests",
        "tests of the kernels and of the tables that servers keep, on the GPU",
        _pytest("$tests/unit/op/test_kernels.py $tests/unit/serving/test_sglang_slots.py -k 'not flashinfer'", "numpy"),
        _pytest("$tests/unit/op/test_kernels.py -k 'test_parity and triton and ties'", "numpy"),
        seconds=300,
    ),
    Step(
        "sglang-32b",
        "the same throughput, 32B",
        _sglang(f"--shape qwq-32b --batch 1 32 128 --tokens 32 160 --repeats 2 --no-host-time --options {OPTIONS}"),
        "sglang",
        seconds=600,
    ),
    Step(
        "torch-compile",
        "time of the op as torch.compile makes it",
        _kernels("--part op --only eager torch.compile --out $out/$name", "$name/op.json"),
        "op",
        seconds=420,
    ),
    Step(
        "vllm",
        "throughput of vLLM, 0.6B: without the plugin and all mixed, in turn",
        Way("-m moi_bench.vllm_decode --shape qwen3-0.6b --out $out/vllm.json", "vllm.json", ("vllm",)),
        Way("-m moi_bench.vllm_decode --host-time --out $out/vllm.json", "vllm.json", ("vllm",), **VLLM_ON_CPU),
        seconds=420,
    ),
    Step(
        "flashinfer",
        "parity and time of the op over FlashInfer's top-K, which it compiles first",
        _kernels("--only eager flashinfer --out $out/$name", "$name/op.json", "flashinfer"),
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
