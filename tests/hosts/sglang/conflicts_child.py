"""Run by test_sglang_conflicts.py in a process of its own: argument lines parsed and resolved by the real SGLang.

Prints one JSON object: the row of the table that each line is for, with what the line is told.
"""

import importlib
import json
import multiprocessing
import os
import sys
from typing import Any

CPU = ["--device", "cpu", "--attention-backend", "torch_native", "--disable-cuda-graph", "--enable-moi"]

# The row of the table -> lines that it must refuse, with variables in front; "" -> lines that nothing refuses.
LINES: dict[str, tuple[str, ...]] = {
    "": (
        *("", "--tp-size 2", "--tp-size 2 --dp-size 2", "--enable-metrics --tokenizer-worker-num 2"),
        *(
            "--elastic-ep-backend none",
            "--sampling-backend pytorch",
            "--enable-lora --max-lora-rank 8 --lora-target-modules q_proj",
        ),
        *("SGLANG_USE_MLX=0 SGLANG_RUST_SERVER=no", "--enable-return-aux-hidden-states --speculative-algorithm EAGLE3"),
    ),
    "--speculative-algorithm": ("--speculative-algorithm NGRAM",),
    "--decoupled-spec-role": ("--decoupled-spec-role verifier", "--decoupled-spec-role drafter"),
    "--disaggregation-mode": ("--disaggregation-mode prefill", "--disaggregation-mode decode"),
    "--pp-size": ("--pp-size 2", "--pipeline-parallel-size 2"),
    "--enable-dp-attention": (
        "--tp-size 2 --dp-size 2 --enable-dp-attention",
        "--tp-size 2 --attn-dp-size 2",
        "--tp-size 2 --attention-data-parallel-size 2",
        "--tp-size 2 --dwdp-size 2",
    ),
    "--enable-mixed-chunk": ("--enable-mixed-chunk",),
    "--enable-pdmux": ("--enable-pdmux",),
    "--enable-two-batch-overlap": ("--enable-two-batch-overlap",),
    "--dllm-algorithm": (
        """--dllm-algorithm LowConfidence --json-model-override-args {"architectures":["SDARForCausalLM"]}""",
    ),
    "--enable-torch-compile": ("--enable-torch-compile",),
    "--rl-on-policy-target": ("--rl-on-policy-target fsdp --attention-backend triton",),
    "--attn-cp-size": ("--tp-size 2 --attn-cp-size 2", "--tp-size 2 --attention-context-parallel-size 2"),
    "--dcp-size": ("--tp-size 2 --dcp-size 2", "--tp-size 2 --decode-context-parallel-size 2"),
    "--enable-prefill-cp": ("--tp-size 2 --enable-prefill-cp --cp-strategy zigzag",),
    "--enable-hisparse": ("--enable-hisparse",),
    "--enable-lmcache": ("--enable-lmcache",),
    "--enable-flexkv": ("--enable-flexkv",),
    "--radix-cache-backend": ("--radix-cache-backend flexkv",),
    "--enable-unified-cache-external-linker": ("--enable-unified-cache-external-linker",),
    "--elastic-ep-backend": ("--elastic-ep-backend mooncake", "--elastic-ep-backend nixl"),
    "--enable-elastic-expert-backup": ("--enable-elastic-expert-backup",),
    "--lora-target-modules": (
        "--enable-lora --max-lora-rank 8 --lora-target-modules embed_tokens",
        "--enable-lora --max-lora-rank 8 --lora-target-modules all",
    ),
    "--model-impl": ("--model-impl mindspore",),
    "--enable-nvidia-megakernel": ("--enable-nvidia-megakernel",),
    "--enable-amd-monokernel": ("--enable-amd-monokernel", "--monokernel-backend amd"),
    "--enable-adaptive-dispatch-to-encoder": ("--enable-adaptive-dispatch-to-encoder",),
    "--is-embedding": ("--is-embedding",),
    "--sampling-backend": ("SGLANG_KV_CANARY_ENABLE_TOKEN_ORACLE=1 --sampling-backend token_oracle",),
    "--use-ray": ("--use-ray",),
    "SGLANG_USE_MLX": ("SGLANG_USE_MLX=1", "SGLANG_USE_MLX=y"),
    "SGLANG_RUST_SERVER": ("SGLANG_RUST_SERVER=True",),
}


# The row -> a step of SGLang that its lines do without: it asks for what this machine does not have, a GPU or
# another package, or (the samplers) resolves the flag away on a CPU. Everything else is as it is.
WITHOUT = {
    "--enable-nvidia-megakernel": "kernel_plugins.nvidia.binding.handle_nvidia_megakernel",
    "--enable-amd-monokernel": "kernel_plugins.amd.binding.handle_amd_monokernel",
    "--sampling-backend": "arg_groups.platform_hook.handle_cpu_backends",
    "SGLANG_USE_MLX": "hardware_backend.mlx.runtime._validate_runtime",
}


def told(job: tuple[str, str, str]) -> list[str]:
    """Every reason not to start on this model with this line of this row."""
    from sglang.srt.server_args import prepare_server_args

    from moi_sglang import flags
    from moi_sglang.compatibility import refusals
    from moi_sglang.host.server import resolved, served_model

    model, row, line = job
    if row in WITHOUT:
        module, _, step = f"sglang.srt.{WITHOUT[row]}".rpartition(".")
        assert callable(getattr(importlib.import_module(module), step))
        setattr(sys.modules[module], step, lambda *args: None)
    words = line.split()
    variables = dict(word.split("=", 1) for word in words if word.startswith("SGLANG_"))
    os.environ.update(variables)
    args = prepare_server_args(["--model-path", model, *CPU, *words[len(variables) :]])
    args.resolve_once()
    settings: Any = flags.settings_of(args)
    return list(refusals(resolved(args), settings, served_model(args)))


def told_without_variables(names: list[str]) -> list[str]:
    """What is said of variables that SGLang has renamed."""
    from sglang.srt.environ import envs

    from moi_sglang.compatibility import conflicting
    from moi_sglang.compatibility_table import VARIABLES
    from moi_sglang.host.server import variables

    for name in names:
        delattr(type(envs), name)
    return list(conflicting(VARIABLES, variables(names)))


def main(model: str) -> None:
    from sglang.srt.plugins import load_plugins

    load_plugins()
    jobs = [(model, row, line) for row, lines in LINES.items() for line in lines]
    with multiprocessing.get_context("fork").Pool(1, maxtasksperchild=1) as pool:  # resolution leaves variables behind
        answers = pool.map(told, jobs, chunksize=1)
        gone = pool.apply(told_without_variables, [[row for row in LINES if row.startswith("SGLANG_")]])
    lines = [[row, line, answer] for (_, row, line), answer in zip(jobs, answers, strict=True)]
    sys.stdout.write("\n" + json.dumps({"lines": lines, "gone": gone}) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
