"""Which hook goes where: a table for each moment at which hooks are registered.

    load      in every process, at start: flags, and the two places where MoI is found to be enabled
    frontend  once enabled, in the process that takes requests
    scheduler once enabled, in the processes that decode

Without --enable-moi only the first table is in place, none of which runs while tokens are generated.
SGLang logs and swallows what goes wrong with a hook, so `apply` checks that every one took hold.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

from moi_serving import contract
from moi_serving.metrics import Metrics
from moi_serving.settings import ServerSettings
from moi_sglang import flags, prefix_cache
from moi_sglang.batches import Batches
from moi_sglang.compatibility import refusals, refuse
from moi_sglang.embedding import Embedding
from moi_sglang.host import SGLANG, batches, model, requests, server
from moi_sglang.requests import RequestInitialisation, RequestValidation
from moi_sglang.runtime import Runtime
from moi_sglang.sampling import Sampling
from moi_sglang.telemetry import response_grows


class Hook(NamedTuple):
    """Dotted name of what is hooked, "before", "after" or "around" it, and what runs there."""

    target: str
    kind: str
    function: Callable[..., Any]


def scheduler_hooks(settings: ServerSettings) -> list[Hook]:
    """Of a process that decodes, around a runtime of its own."""
    metrics = Metrics()
    runtime, created = Runtime(settings, metrics), RequestInitialisation(settings, metrics).created
    following, sampling = Batches(runtime), Sampling(runtime)
    return [
        Hook(requests.REQUEST_SCHEDULED, "after", created),
        Hook(server.COUNTERS_MADE, "after", runtime.collector_made),
        Hook(model.POOL_ALLOCATED, "after", Embedding(runtime).pool_allocated),
        Hook(batches.SAMPLE, "around", sampling.sample),
        Hook(batches.LOGITS_FINAL, "after", sampling.logits_final),
        Hook(batches.FORWARD, "around", following.context),
        Hook(batches.BATCH_MADE, "after", following.made),
        Hook(batches.PREFILL_GRAPH, "around", following.prefill_graph),
        Hook(requests.RELEASE_KV, "around", functools.partial(prefix_cache.release, runtime)),
        Hook(requests.CHECKPOINT_KV, "around", prefix_cache.checkpoint),
        Hook(requests.MAX_PREFIX, "after", prefix_cache.max_prefix),
    ]


def problems(hooks: list[Hook]) -> list[str]:
    """Targets that the installed SGLang lacks, or that do not take what is declared."""
    targets = {hook.target for hook in hooks}
    return contract.problems(symbol for symbol in SGLANG.symbols if symbol.name in targets)


def apply(hooks: list[Hook]) -> None:
    """Register and put in place; SystemExit unless every target is as declared and took its hook."""
    if moved := problems(hooks):
        refuse("; ".join(moved))
    server.register(hooks)
    server.apply_hooks()
    require_patched(hooks)


def require_patched(hooks: list[Hook]) -> None:
    """SystemExit that names the targets without their hooks."""
    patched = server.patched()
    if missing := [hook.target for hook in hooks if hook.target not in patched]:
        refuse(f"SGLang did not apply the hooks on {', '.join(missing)}")


def _arguments_parsed(server_args: Any, cls: type, args: Any, *more: Any, **kwargs: Any) -> None:
    flags.attach(server_args, vars(args))
    if flags.settings_of(server_args) is not None:
        require_patched(LOAD)


def _arguments_checked(result: Any, server_args: Any, *args: Any, **kwargs: Any) -> None:
    """In the launching process, which also takes the requests; arguments are resolved."""
    settings = flags.settings_of(server_args)
    if settings is not None:
        _refuse_conflicts(server_args, settings)
        VALIDATION.serve(settings)
        VALIDATION.metrics.enable(server.frontend_labels(server_args))
        apply(FRONTEND)


def _scheduler_starts(scheduler: Any, server_args: Any, *args: Any, **kwargs: Any) -> None:
    """Again in each scheduler process: not every launcher checks its arguments."""
    settings = flags.settings_of(server_args)
    if settings is not None:
        _refuse_conflicts(server_args, settings)
        apply(scheduler_hooks(settings))


def _refuse_conflicts(server_args: Any, settings: ServerSettings) -> None:
    require_patched(LOAD)
    for reason in refusals(server.resolved(server_args), settings, server.served_model(server_args)):
        refuse(reason)


VALIDATION = RequestValidation()
LOAD = [
    Hook(server.ADD_FLAGS, "after", flags.add_cli_args),
    Hook(server.FLAGS_PARSED, "after", _arguments_parsed),
    Hook(server.ARGUMENTS_RESOLVED, "after", _arguments_checked),
    Hook(server.SCHEDULER_STARTS, "before", _scheduler_starts),
]
FRONTEND = [
    Hook(requests.REQUEST_ENTERS, "after", VALIDATION.verify),
    Hook(requests.RESPONSE_GROWS, "around", response_grows),
]
