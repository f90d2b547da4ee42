"""Which hook goes where: a table for each moment at which hooks are registered.

    load      in every process, at start: flags, and the two places where MoI is found to be enabled
    frontend  once enabled, in the process that takes requests
    scheduler once enabled, in the processes that decode

Without --enable-moi only the first table is in place, none of which runs while tokens are generated.
SGLang logs and swallows what goes wrong with a hook, so `apply` checks that every one took hold.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from moi_serving.metrics import Metrics
from moi_serving.settings import ServerSettings
from moi_sglang import flags
from moi_sglang.batches import Batches
from moi_sglang.compatibility import refusals, refuse
from moi_sglang.contract import TARGETS, check_targets
from moi_sglang.embedding import Embedding
from moi_sglang.prefix_cache import PrefixCache
from moi_sglang.requests import RequestInitialisation, RequestValidation
from moi_sglang.runtime import Runtime
from moi_sglang.sampling import Sampling
from moi_sglang.telemetry import MetaInfo


class Hook(NamedTuple):
    """target below "sglang.srt.", kind of SGLang's HookType, function."""

    target: str
    kind: str
    function: Callable[..., Any]


def load_hooks() -> list[Hook]:
    return [
        Hook("server_args.ServerArgs.add_cli_args", "after", flags.add_cli_args),
        Hook("server_args.ServerArgs.from_cli_args", "after", _arguments_parsed),
        Hook("server_args.ServerArgs.check_server_args", "after", _arguments_checked),
        Hook("managers.scheduler.Scheduler.__init__", "before", _scheduler_starts),
    ]


def frontend_hooks(settings: ServerSettings, metrics: Metrics) -> list[Hook]:
    return [
        Hook("sampling.sampling_params.SamplingParams.verify", "after", RequestValidation(settings, metrics).verify),
        Hook(
            "managers.tokenizer_manager.TokenizerManager.update_request_meta_info",
            "around",
            MetaInfo(settings).update,
        ),
    ]


def scheduler_hooks(settings: ServerSettings) -> list[Hook]:
    metrics = Metrics()
    runtime, requests = Runtime(settings, metrics), RequestInitialisation(settings, metrics)
    batches, sampling, cache = Batches(runtime), Sampling(runtime), PrefixCache(runtime)
    runner = "model_executor.model_runner.ModelRunner"
    graphs = "model_executor.runner.prefill_cuda_graph_runner.PrefillCudaGraphRunner"
    return [
        Hook("managers.scheduler.Scheduler._create_generation_req", "after", requests.created),
        Hook("managers.scheduler.Scheduler.init_metrics_collector", "after", runtime.collector_made),
        Hook(f"{runner}.load_model", "after", Embedding(runtime).model_loaded),
        Hook(f"{runner}.alloc_memory_pool", "after", runtime.pool_allocated),
        Hook(f"{runner}.sample", "around", sampling.sample),
        Hook("layers.sampler.Sampler._preprocess_logits", "after", sampling.logits_final),
        Hook("model_executor.forward_context.forward_context", "around", batches.context),
        Hook("model_executor.forward_batch_info.ForwardBatch.init_new", "after", batches.made),
        Hook(f"{graphs}.can_run_graph", "around", batches.prefill_graph),
        Hook("mem_cache.common.release_kv_cache", "around", cache.release),
        Hook("mem_cache.common.checkpoint_kv_cache", "around", cache.checkpoint),
        Hook("managers.schedule_batch.Req._compute_max_prefix_len", "after", cache.max_prefix),
    ]


def register(hooks: list[Hook]) -> None:
    from sglang.srt.plugins.hook_registry import HookRegistry, HookType

    for hook in hooks:
        HookRegistry.register(f"sglang.srt.{hook.target}", hook.function, HookType(hook.kind))


def problems(hooks: list[Hook]) -> list[str]:
    """Targets that are not what the contract says."""
    return list(check_targets({hook.target: TARGETS[hook.target] for hook in hooks}))


def apply(hooks: list[Hook]) -> None:
    """Register and put in place; SystemExit unless every target is what the contract says."""
    moved = problems(hooks)
    if moved:
        refuse("; ".join(moved))
    from sglang.srt.plugins.hook_registry import HookRegistry

    register(hooks)
    HookRegistry.apply_hooks()
    require_patched(hooks)


def require_patched(hooks: list[Hook]) -> None:
    from sglang.srt.plugins.hook_registry import HookRegistry

    missing = [hook.target for hook in hooks if f"sglang.srt.{hook.target}" not in HookRegistry._patched]
    if missing:
        refuse(f"SGLang did not apply the hooks on {', '.join(missing)}")


def _arguments_parsed(server_args: Any, cls: type, args: Any) -> None:
    flags.from_cli_args(server_args, cls, args)
    if flags.settings_of(server_args) is not None:
        require_patched(load_hooks())


def _arguments_checked(result: Any, server_args: Any) -> None:
    """In the launching process, which also takes the requests; arguments are resolved."""
    settings = flags.settings_of(server_args)
    if settings is not None:
        _refuse_conflicts(server_args, settings)
        metrics = Metrics()
        if server_args.enable_metrics:
            metrics.enable({"model_name": str(server_args.served_model_name or server_args.model_path)})
        apply(frontend_hooks(settings, metrics))


def _scheduler_starts(scheduler: Any, server_args: Any, *args: Any, **kwargs: Any) -> None:
    """Again in each scheduler process: not every launcher checks its arguments."""
    settings = flags.settings_of(server_args)
    if settings is not None:
        _refuse_conflicts(server_args, settings)
        apply(scheduler_hooks(settings))


def _refuse_conflicts(server_args: Any, settings: ServerSettings) -> None:
    from sglang.srt.arg_groups.overrides import model_config_of, resolving_view

    require_patched(load_hooks())
    for reason in refusals(resolving_view(server_args), settings, model_config_of(server_args)):
        refuse(reason)
