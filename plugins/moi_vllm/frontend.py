"""The front end: checks a request's settings where it enters, and says in its response what was mixed."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from moi_serving.metrics import Metrics
from moi_serving.settings import KEY, THINK_END, ServerSettings, check_vocabulary
from moi_serving.telemetry import Summary, TokenRecord
from moi_vllm.host import attach, attached
from moi_vllm.host import requests as host
from moi_vllm.host.server import vocab_size
from moi_vllm.settings import SEED, asked, check_sent, sent_marks

_TOLD = "moi_told"  # on what the choices of a request share: what is told of each, by its index
METRICS = Metrics()  # of this process, whatever it serves


class Validation:
    """Of one InputProcessor, to which it is attached. What is wrong with a request's settings is an HTTP 400."""

    def __init__(self, settings: ServerSettings) -> None:
        self.settings = settings
        self._thinking = functools.cache(host.marks)

    def check(self, processor: Any, params: Any) -> None:
        """ValueError for settings that are not allowed."""
        check_sent(host.extra_args(params))
        check_vocabulary(asked(host.extra_args(params), self.settings), vocab_size(processor.vllm_config))

    def complete(self, processor: Any, request: Any, resumable: bool) -> None:
        """Look up the tokens that end thinking. ValueError where there are none, and for what cannot mix."""
        settings = asked(host.extra_args(request.sampling_params), self.settings)
        if settings.mixes and resumable:
            raise ValueError('a session whose input is streamed does not go with mixing; set moi_policy to "token"')
        if settings.mixes and settings.mix_until == THINK_END:
            host.set_extra(request, *sent_marks(self._thinking(processor)))


def params_checked(original: Callable[..., Any], processor: Any, params: Any, *args: Any, **kwargs: Any) -> Any:
    """AROUND the check of a request's parameters, before vLLM copies them."""
    result = original(processor, params, *args, **kwargs)
    validation: Validation | None = attached(processor)
    if validation is not None and host.is_sampling(params):
        with _bad_requests():
            validation.check(processor, params)
    return result


def request_enters(
    original: Callable[..., Any], processor: Any, *args: Any, resumable: bool = False, **kwargs: Any
) -> Any:
    """AROUND what makes a request of its parts."""
    request = original(processor, *args, resumable=resumable, **kwargs)
    validation: Validation | None = attached(processor)
    if validation is not None and request.sampling_params is not None:
        with _bad_requests():
            validation.complete(processor, request, resumable)
    return request


@contextlib.contextmanager
def _bad_requests() -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        METRICS.count("refused_requests")
        raise host.bad_request(f"moi: {error}") from None


def request_added(original: Callable[..., Any], processor: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
    """AROUND the start of what the front end keeps of a request."""
    result = original(processor, request, *args, **kwargs)
    state, params = host.state_of(processor, request.request_id), request.sampling_params
    if state is not None and params is not None:
        attach(state, Summary())
        _, index = host.choice_of(state)
        if index and (seed := host.extra_args(params).get(SEED)) is not None:  # as vLLM's own: one of each choice
            host.set_own_extra(request, SEED, (seed + index) % 2**63)
    return result


def outputs_arrive(
    original: Callable[..., Any], processor: Any, outputs: Sequence[Any], *args: Any, **kwargs: Any
) -> Any:
    """AROUND what makes responses of the core's outputs: records of tokens become a summary of each choice."""
    for output in outputs:
        record = host.told(output, KEY)
        if record is not None and (state := host.state_of(processor, host.request_id(output))) is not None:
            host.tell(output, KEY, _summaries(state, tuple(record)))
    return original(processor, outputs, *args, **kwargs)


def _summaries(state: Any, record: TokenRecord) -> list[dict[str, Any] | None]:
    """One for each choice of the request, of which this one has grown: None of one that has not begun."""
    summary: Summary = attached(state)
    before = summary.replayed
    summary.add([record])
    entropy, intervention, due, *_ = record
    counted = {"mixed_tokens": due, "observed_tokens": 1, "entropy": entropy, "intervention": intervention}
    for name, amount in {**counted, "replayed_tokens": summary.replayed - before}.items():
        METRICS.count(name, amount)
    owner, index = host.choice_of(state)
    told: list[dict[str, Any] | None] = owner.__dict__.setdefault(_TOLD, [])
    told.extend([None] * (index + 1 - len(told)))
    told[index] = summary.to_dict(growing=not host.repeats(state))
    return [*told]
