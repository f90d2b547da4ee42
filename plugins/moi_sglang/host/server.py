"""SGLang's arguments, the model they name, and its registry of hooks."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, NamedTuple

from moi_sglang.host import SGLANG, Read

ADD_FLAGS = SGLANG.hooked("server_args.ServerArgs.add_cli_args(parser)")
FLAGS_PARSED = SGLANG.hooked("server_args.ServerArgs.from_cli_args(args)")
ARGUMENTS_RESOLVED = SGLANG.hooked("server_args.ServerArgs.check_server_args()")
SCHEDULER_STARTS = SGLANG.hooked("managers.scheduler.Scheduler.__init__(server_args)")
COUNTERS_MADE = SGLANG.hooked("managers.scheduler.Scheduler.init_metrics_collector()")

resolved: Read[Any] = SGLANG.function("arg_groups.overrides.resolving_view(server_args)")
_config_of: Read[Any] = SGLANG.function("arg_groups.overrides.model_config_of(server_args)")
apply_hooks: Callable[[], None] = SGLANG.function("plugins.hook_registry.HookRegistry.apply_hooks()")
SGLANG.called("plugins.hook_registry.HookRegistry.register(target, hook, hook_type)")
SGLANG.has("plugins.hook_registry.HookRegistry", "_patched")
SGLANG.has("entrypoints.engine.Engine", "server_args_class")
SGLANG.has("server_args.ServerArgs", "enable_metrics", "served_model_name", "model_path")
SGLANG.has("configs.model_config.ModelConfig", "hf_config", "hf_text_config", "is_generation", "vocab_size")
SGLANG.has("managers.scheduler.Scheduler", "metrics_collector_context")
_CONTEXT = "observability.metrics_collector.SchedulerMetricsCollectorContext"
SGLANG.has(_CONTEXT, "collector", "enable_metrics", "is_stats_logging_rank")
SGLANG.has("observability.metrics_collector.SchedulerMetricsCollector", "labels")


class ServedModel(NamedTuple):
    """Hugging Face's type of the model and its configurations, of the whole and of its text; the ids it knows."""

    name: str
    configs: tuple[Any, Any]
    vocab_size: int
    generates: bool


def served_model(server_args: Any) -> ServedModel:
    """The model that resolved arguments name."""
    config = _config_of(server_args)
    configs = config.hf_config, config.hf_text_config
    return ServedModel(str(config.hf_config.model_type), configs, config.vocab_size, config.is_generation)


def frontend_labels(server_args: Any) -> dict[str, str] | None:
    """Of the counters of a process that takes requests; None where it publishes none."""
    name = str(server_args.served_model_name or server_args.model_path)
    return {"model_name": name} if server_args.enable_metrics else None


def scheduler_labels(scheduler: Any) -> dict[str, str] | None:
    """Of the counters of a process that decodes; None where it publishes none."""
    context = scheduler.metrics_collector_context
    counts = context.enable_metrics and context.collector is not None and context.is_stats_logging_rank
    return context.collector.labels if counts else None


def variable(name: str, otherwise: Any) -> Any:
    """What SGLang reads of a variable of its environment; `otherwise` where it has no such variable."""
    from sglang.srt.environ import envs

    return getattr(envs, name).get() if hasattr(envs, name) else otherwise


def register(target: str, hook: Callable[..., Any], kind: str) -> None:
    """A hook "before", "after" or "around" a target, put in place by the next `apply_hooks`."""
    from sglang.srt.plugins.hook_registry import HookRegistry, HookType

    HookRegistry.register(target, hook, HookType(kind))


def patched() -> set[str]:
    """Targets whose hooks are in place."""
    from sglang.srt.plugins.hook_registry import HookRegistry

    found: set[str] = HookRegistry._patched
    return found


def wrap_engine_arguments(wrap: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    """What `sgl.Engine` makes of its keywords, where the engine has been imported."""
    if (module := sys.modules.get("sglang.srt.entrypoints.engine")) is not None:
        module.Engine.server_args_class = staticmethod(wrap(module.Engine.server_args_class))
