"""The engine core: the prefix cache shares nothing that a mixture went into; no request that mixes goes on plainly."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from moi_serving.settings import KEY, ServerSettings
from moi_vllm.host import attach, attached
from moi_vllm.host import requests as host
from moi_vllm.host.worker import reported
from moi_vllm.settings import asked

LOG = logging.getLogger("vllm.moi")


class Scheduled:
    """Of one of vLLM's Requests, to which it is attached. `blocks` names the blocks that are its own."""

    def __init__(self, mixes: bool) -> None:
        self.mixes = mixes
        self.blocks = uuid.uuid4().hex  # requests may come with an id that there was before


def request_added(original: Callable[..., Any], scheduler: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
    """AROUND a request's way into the scheduler."""
    settings: ServerSettings | None = attached(scheduler)
    params = host.sampling_of(request)
    if settings is not None and params is not None:
        attach(request, Scheduled(_mixes(params, settings)))
    return original(scheduler, request, *args, **kwargs)


def block_keys(
    original: Callable[..., Any],
    request: Any,
    start_token_idx: int,
    end_token_idx: int,
    *args: Any,
    **kwargs: Any,
) -> tuple[tuple[Any, ...] | None, int]:
    """AROUND what the hash of a block is made of beside its token ids.

    The KV of a generated token depends on the mixture that was fed for it: blocks past the prompt are the request's
    own. Those of the prompt stay shared, and a preempted request finds its own again.
    """
    keys, images = original(request, start_token_idx, end_token_idx, *args, **kwargs)
    scheduled: Scheduled | None = attached(request)
    if scheduled is not None and scheduled.mixes and end_token_idx > host.prompt_length(request):
        keys = (*(keys or ()), (KEY, scheduled.blocks))
    return keys, images


def step_ends(
    original: Callable[..., Any],
    scheduler: Any,
    scheduler_output: Any,
    model_runner_output: Any,
    *args: Any,
    **kwargs: Any,
) -> Any:
    """AROUND the end of a step: each token's record goes with it; a request that mixes and brings none is ended."""
    report: Mapping[str, Any] = reported(model_runner_output)
    missing = [each for each in host.stepped(scheduler_output) if each not in report]
    mixing = {each for each in missing if _is_mixing(host.core_request(scheduler, each))}
    outputs = original(scheduler, scheduler_output, model_runner_output, *args, **kwargs)
    for output in host.core_outputs(outputs):
        identity = host.request_id(output)
        if not host.new_tokens(output):
            continue
        if identity in report:
            host.tell(output, KEY, report[identity])
        elif identity in mixing:
            LOG.error("MoI: request %s came back without its mixture", identity)
            host.end_with_error(scheduler, output)
    return outputs


def _mixes(params: Any, settings: ServerSettings) -> bool:
    """Whether a request asked to mix; one that cannot be understood did, and will bring no mixture."""
    try:
        return asked(host.extra_args(params), settings).mixes
    except ValueError as error:  # a front end without the plugin let it in
        LOG.error("MoI: the settings of a request were not checked: %s", error)
        return True


def _is_mixing(request: Any) -> bool:
    scheduled: Scheduled | None = attached(request)
    return scheduled is not None and scheduled.mixes
