"""Run by test_sglang_refusals.py in a process of its own: real arguments and the real hook registry, no server.

Prints one JSON object: the hooks in place before MoI is enabled, after it, and what each line of flags is told.
"""

import json
import sys
from typing import Any

LINES = (
    "",
    "--enable-mixed-chunk",
    "--tp-size 2 --dp-size 2 --enable-dp-attention",
    "--moi-beta -1",
    "--moi-top-k 64 --moi-policy nonsense",
)
BROKEN = (
    "managers.schedule_batch.Req._compute_max_prefix_len",
    "model_executor.model_runner.ModelRunner.sample",
    "mem_cache.common.release_kv_cache",
)


def main(model: str) -> None:
    from sglang.srt.plugins import load_plugins
    from sglang.srt.plugins.hook_registry import HookRegistry

    load_plugins()
    report: dict[str, Any] = {"loaded": sorted(HookRegistry._patched), "told": {}, "broken": {}}
    for line in LINES:
        report["told"][line] = told(model, line.split())
    report["enabled"] = sorted(HookRegistry._patched)
    for target in BROKEN:
        report["broken"][target] = told_without(model, target)
    from moi_sglang import check_contract

    report["contract"] = check_contract()
    sys.stdout.write("\n" + json.dumps(report) + "\n")


def told(model: str, flags: list[str]) -> str:
    """What stops a launch with these flags, or nothing."""
    try:
        checked(model, flags)
    except SystemExit as stop:
        return str(stop)
    return ""


def checked(model: str, flags: list[str]) -> Any:
    from sglang.srt.server_args import prepare_server_args

    cpu = ["--device", "cpu", "--attention-backend", "torch_native", "--disable-cuda-graph"]
    args = prepare_server_args(["--model-path", model, *cpu, "--enable-moi", *flags])
    args.resolve_once()
    args.check_server_args()
    return args


def told_without(model: str, target: str) -> str:
    """What the scheduler process is told where SGLang has renamed a target."""
    import pkgutil

    from moi_sglang import hooks

    args = checked(model, [])
    owner, name = f"sglang.srt.{target}".rsplit(".", 1)
    holder = pkgutil.resolve_name(owner)
    original = holder.__dict__[name]
    delattr(holder, name)
    try:
        hooks._scheduler_starts(None, args, None)
    except SystemExit as stop:
        return str(stop)
    finally:
        setattr(holder, name, original)
    return ""


if __name__ == "__main__":
    main(sys.argv[1])
