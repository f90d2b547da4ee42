"""The engine core: the prefix cache shares nothing that a mixture went into; no request that mixes goes on plainly."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from moi_serving.settings import KEY, RequestSettings, ServerSettings
from moi_vllm.host import requests as host
from moi_vllm.host.worker import REPORT
from moi_vllm.settings import asked

_SETTINGS, _OWN = "moi_settings", "moi_own_blocks"  # on vLLM's Request


class Scheduling:
    """Hooks of the scheduler's process."""

    def __init__(self, settings: ServerSettings) -> None:
        self._settings = settings

    def block_keys(
        self, original: Callable[..., Any], request: Any, start: int, end: int, *args: Any, **kwargs: Any
    ) -> tuple[tuple[Any, ...] | None, int]:
        """AROUND what the hash of a block is made of beside its token ids.

        The KV of a generated token depends on the mixture that was fed for it: blocks past the prompt are the
        request's own. Those of the prompt stay shared, and a preempted request finds its own again.
        """
        keys, images = original(request, start, end, *args, **kwargs)
        if end > host.prompt_length(request) and self._mixes(request):
            keys = (*(keys or ()), (KEY, _own_blocks(request)))
        return keys, images

    def step_ends(
        self, original: Callable[..., Any], scheduler: Any, scheduled: Any, output: Any, *args: Any, **kwargs: Any
    ) -> Any:
        """AROUND the end of a step: each token's record goes with it; a request that brings none is ended."""
        made = {request: host.core_request(scheduler, request) for request in host.stepped(scheduled)}
        outputs = original(scheduler, scheduled, output, *args, **kwargs)
        report: Mapping[str, Any] = getattr(output, REPORT, None) or {}
        for each in host.core_outputs(outputs):
            identity = host.request_id(each)
            if not host.new_tokens(each):
                continue
            if (record := report.get(identity)) is not None:
                host.tell(each, KEY, record)
            elif (request := made.get(identity)) is not None and self._mixes(request):
                logging.getLogger("vllm.moi").error("MoI: request %s came back without its mixture", identity)
                host.end_with_error(scheduler, each)
        return outputs

    def _mixes(self, request: Any) -> bool:
        """Whether a request asked to mix; one that cannot be understood did, and will bring no mixture."""
        params = host.sampling_of(request)
        if params is None:
            return False
        found: RequestSettings | None = getattr(request, _SETTINGS, None)
        if found is None:
            try:
                found = asked(host.extra_args(params), self._settings)
            except ValueError:  # a front end without the plugin let it in
                return True
            setattr(request, _SETTINGS, found)
        return found.mixes


def _own_blocks(request: Any) -> str:
    """A name that no other request has, under the same id or not."""
    name: str | None = getattr(request, _OWN, None)
    if name is None:
        name = uuid.uuid4().hex
        setattr(request, _OWN, name)
    return name
