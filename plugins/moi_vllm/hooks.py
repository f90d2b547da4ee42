"""Which hook goes where: a table for each kind of process, put in place once that process knows that MoI is on.

    load      in every process: the four places where a process learns of the settings
    frontend  in the processes that take requests
    core      in the process that schedules
    worker    in the processes that compute

Without MoI the first table alone is in place, none of which runs while tokens are generated.
"""

from __future__ import annotations

import functools
import os
import pkgutil
from collections.abc import Callable
from typing import Any, NamedTuple

from moi_serving.settings import KEY, ServerSettings
from moi_vllm.compatibility import refusals, refuse
from moi_vllm.contract import check_targets
from moi_vllm.host import attach, requests, server, worker
from moi_vllm.settings import resolved, server_settings


class Hook(NamedTuple):
    """Dotted name of what is hooked, and what runs around it: function(original, *arguments)."""

    target: str
    function: Callable[..., Any]


_installed: set[str] = set()


def load() -> None:
    """In every process, perhaps more than once. RuntimeError that names targets that the installed vLLM lacks."""
    table = [
        Hook(server.CONFIG_MADE, _config_made),
        Hook(server.FRONTEND_STARTS, _frontend_starts),
        Hook(server.CORE_STARTS, _core_starts),
        Hook(worker.STATE_CHOSEN, _state_chosen),
    ]
    if problems := check_targets([hook.target for hook in table]):
        raise RuntimeError(f"MoI: {'; '.join(problems)}")
    install(table)


def apply(hooks: list[Hook]) -> None:
    """Put in place; SystemExit unless every target is as declared."""
    if problems := check_targets([hook.target for hook in hooks]):
        refuse("; ".join(problems))
    install(hooks)


def install(hooks: list[Hook]) -> None:
    """Each target once in a process."""
    for hook in hooks:
        if hook.target not in _installed:
            _installed.add(hook.target)
            place, _, name = hook.target.rpartition(".")
            owner = pkgutil.resolve_name(place)
            setattr(owner, name, _around(getattr(owner, name), hook.function))


def _around(original: Callable[..., Any], function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def hooked(*args: Any, **kwargs: Any) -> Any:
        return function(original, *args, **kwargs)

    return hooked


def settings_of(vllm_config: Any) -> ServerSettings | None:
    """Of a process; None where MoI is off. SystemExit for a bad value."""
    try:
        return server_settings(server.additional_config(vllm_config), os.environ)
    except ValueError as error:
        refuse(f"--additional-config: {error}")


def _config_made(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """In the process that was started: what does not go with MoI ends it here, before any other is started."""
    vllm_config = original(*args, **kwargs)
    settings = settings_of(vllm_config)
    if settings is not None:
        for reason in refusals(vllm_config, settings):
            refuse(reason)
        server.set_additional(vllm_config, KEY, resolved(settings))  # the same in processes with another environment
    return vllm_config


def _frontend_starts(original: Callable[..., Any], processor: Any, vllm_config: Any, *args: Any, **kwargs: Any) -> None:
    settings = settings_of(vllm_config)
    if settings is not None:
        from moi_vllm import frontend

        frontend.METRICS.enable(server.metric_labels(vllm_config))
        attach(processor, frontend.Validation(settings))
        apply(
            [
                Hook(requests.PARAMS_CHECKED, frontend.params_checked),
                Hook(requests.REQUEST_ENTERS, frontend.request_enters),
                Hook(requests.REQUEST_ADDED, frontend.request_added),
                Hook(requests.OUTPUTS_ARRIVE, frontend.outputs_arrive),
            ]
        )
    original(processor, vllm_config, *args, **kwargs)


def _core_starts(original: Callable[..., Any], scheduler: Any, vllm_config: Any, *args: Any, **kwargs: Any) -> None:
    settings = settings_of(vllm_config)
    if settings is not None:
        from moi_vllm import scheduling

        attach(scheduler, settings)
        keys = [Hook(target, scheduling.block_keys) for target in requests.BLOCK_KEYS]
        scheduled = Hook(requests.REQUEST_SCHEDULED, scheduling.request_added)
        apply([*keys, scheduled, Hook(requests.STEP_ENDS, scheduling.step_ends)])
    original(scheduler, vllm_config, *args, **kwargs)


def _state_chosen(original: Callable[..., type], vllm_config: Any, model: Any) -> type:
    cls = original(vllm_config, model)
    settings = settings_of(vllm_config)
    if settings is None:
        return cls
    for reason in refusals(vllm_config, settings):  # not every worker is started by a process that checks
        refuse(reason)
    from moi_vllm import sampling, transfer
    from moi_vllm.model_state import Mixing
    from moi_vllm.runtime import Runtime

    apply(
        [
            Hook(worker.SAMPLE, sampling.sampled),
            Hook(worker.PARAMS_APPLIED, sampling.params_applied),
            Hook(worker.LOGITS_FINAL, sampling.logits_final),
            Hook(worker.OUTPUT_MADE, transfer.output_made),
            Hook(worker.OUTPUT_READ, transfer.output_read),
            Hook(worker.REQUESTS_END, transfer.requests_end),
        ]
    )
    return worker.state_class(cls, Mixing, moi=Runtime(settings))
