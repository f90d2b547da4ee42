"""SGLang's arguments, the model they name, and its registry of hooks."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Any

from moi_sglang.host import SGLANG, Read

ADD_FLAGS = SGLANG.hooked("server_args.ServerArgs.add_cli_args(parser)")
FLAGS_PARSED = SGLANG.hooked("server_args.ServerArgs.from_cli_args(args)")
ARGUMENTS_RESOLVED = SGLANG.hooked("server_args.ServerArgs.check_server_args()")
SCHEDULER_STARTS = SGLANG.hooked("managers.scheduler.Scheduler.__init__(server_args)")
COUNTERS_MADE = SGLANG.hooked("managers.scheduler.Scheduler.init_metrics_collector()")

resolved: Read[Any] = SGLANG.function("arg_groups.overrides.resolving_view(server_args)")
served_model: Read[Any] = SGLANG.function("arg_groups.overrides.model_config_of(server_args)")
apply_hooks: Callable[[], None] = SGLANG.function("plugins.hook_registry.HookRegistry.apply_hooks()")
SGLANG.called("plugins.hook_registry.HookRegistry.register(target, hook, hook_type)")
SGLANG.has("plugins.hook_registry.HookRegistry", "_patched")
SGLANG.has("entrypoints.engine.Engine", "server_args_class")
SGLANG.has("server_args.ServerArgs", "enable_metrics", "served_model_name", "model_path")
config: Read[Any] = SGLANG.field("configs.model_config.ModelConfig", "hf_config")  # of Hugging Face, for all of it
text_config: Read[Any] = SGLANG.field("configs.model_config.ModelConfig", "hf_text_config")  # and for its text
vocab_size: Read[int] = SGLANG.field("configs.model_config.ModelConfig", "vocab_size")
generates: Read[bool] = SGLANG.field("configs.model_config.ModelConfig", "is_generation")
SGLANG.has("managers.scheduler.Scheduler", "metrics_collector_context")
_CONTEXT = "observability.metrics_collector.SchedulerMetricsCollectorContext"
SGLANG.has(_CONTEXT, "collector", "enable_metrics", "is_stats_logging_rank")
SGLANG.has("observability.metrics_collector.SchedulerMetricsCollector", "labels")


def frontend_labels(server_args: Any) -> dict[str, str] | None:
    """Of the counters of a process that takes requests; None where it publishes none."""
    name = str(server_args.served_model_name or server_args.model_path)
    return {"model_name": name} if server_args.enable_metrics else None


def scheduler_labels(scheduler: Any) -> dict[str, str] | None:
    """Of the counters of a process that decodes; None where it publishes none."""
    context = scheduler.metrics_collector_context
    counts = context.enable_metrics and context.collector is not None and context.is_stats_logging_rank
    return context.collector.labels if counts else None


def variables(names: Iterable[str]) -> dict[str, Any]:
    """Those of these that SGLang's environment has, as it reads them."""
    from sglang.srt.environ import envs

    return {name: getattr(envs, name).get() for name in names if hasattr(envs, name)}


def register(hooks: Iterable[tuple[str, str, Callable[..., Any]]]) -> None:
    """Targets, each with "before", "after" or "around" and what runs there once `apply_hooks` was called."""
    from sglang.srt.plugins.hook_registry import HookRegistry, HookType

    for target, kind, function in hooks:
        HookRegistry.register(target, function, HookType(kind))


def patched() -> set[str]:
    """Targets whose hooks are in place."""
    from sglang.srt.plugins.hook_registry import HookRegistry

    found: set[str] = HookRegistry._patched
    return found


def wrap_engine_arguments(wrap: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    """What `sgl.Engine` makes of its keywords, where the engine has been imported."""
    if (module := sys.modules.get("sglang.srt.entrypoints.engine")) is not None:
        module.Engine.server_args_class = staticmethod(wrap(module.Engine.server_args_class))
