"""The front end: checks a request's settings where it enters, and says in its response what was mixed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from moi_serving.metrics import Metrics
from moi_serving.mixing_marks import Thinking
from moi_serving.settings import KEY, THINK_END, RequestSettings, ServerSettings
from moi_serving.telemetry import Summary, TokenRecord
from moi_vllm.host import requests as host
from moi_vllm.host.server import vocab_size
from moi_vllm.settings import asked, check_sent, sent_marks

_SUMMARY, _TOLD = "moi_summary", "moi_told"  # on the front end's state of a request; on what its choices share


class Validation:
    """Hooks on the way in. What is wrong with a request's settings is an HTTP 400."""

    def __init__(self, settings: ServerSettings, metrics: Metrics) -> None:
        self._settings = settings
        self._metrics = metrics
        self._thinking = Thinking()

    def params_checked(self, original: Callable[..., Any], processor: Any, params: Any, *args: Any, **kw: Any) -> Any:
        """AROUND the check of a request's parameters, before vLLM copies them."""
        result = original(processor, params, *args, **kw)
        if host.is_sampling(params):
            self._checked(lambda: self._check(processor, params))
        return result

    def request_enters(
        self, original: Callable[..., Any], processor: Any, *args: Any, resumable: bool = False, **kwargs: Any
    ) -> Any:
        """AROUND what makes a request of its parts: the tokens that end thinking are looked up here."""
        request = original(processor, *args, resumable=resumable, **kwargs)
        params = request.sampling_params
        if params is not None:
            settings = asked(host.extra_args(params), self._settings)
            if settings.mixes and resumable:
                self._checked(_refuse_session)
            if settings.mixes and settings.mix_until == THINK_END:
                host.set_extra(request, *self._checked(lambda: self._marks(processor, settings)))
        return request

    def _check(self, processor: Any, params: Any) -> None:
        check_sent(host.extra_args(params))
        settings = asked(host.extra_args(params), self._settings)
        until, vocab = settings.mix_until, vocab_size(processor.vllm_config)
        if isinstance(until, int) and until >= vocab:
            raise ValueError(f"until={until} is not allowed; the model's vocabulary has {vocab} ids")

    def _marks(self, processor: Any, settings: RequestSettings) -> tuple[str, list[int]]:
        return sent_marks(self._thinking.marks(settings, lambda: host.thinking_words(processor)))

    def _checked(self, check: Callable[[], Any]) -> Any:
        try:
            return check()
        except ValueError as error:
            self._metrics.refused()
            raise host.bad_request(f"moi: {error}") from None


def _refuse_session() -> None:
    raise ValueError('a session whose input is streamed does not go with mixing; set moi_policy to "token"')


class Responses:
    """Hooks on the way out: the records of a step's tokens become one summary for each choice."""

    def __init__(self, settings: ServerSettings, metrics: Metrics) -> None:
        self._settings = settings
        self._metrics = metrics

    def request_added(self, original: Callable[..., Any], processor: Any, request: Any, *args: Any, **kw: Any) -> Any:
        """AROUND the start of a request's state."""
        result = original(processor, request, *args, **kw)
        state, params = host.state_of(processor, request.request_id), request.sampling_params
        if state is not None and params is not None:
            setattr(state, _SUMMARY, Summary(asked(host.extra_args(params), self._settings).per_token))
        return result

    def outputs_arrive(
        self, original: Callable[..., Any], processor: Any, outputs: Sequence[Any], *args: Any, **kw: Any
    ) -> Any:
        """AROUND what makes responses of the core's outputs."""
        for output in outputs:
            record = host.told(output, KEY)
            if record is not None and (state := host.state_of(processor, host.request_id(output))) is not None:
                host.tell(output, KEY, self._summary(state, tuple(record)))
        return original(processor, outputs, *args, **kw)

    def _summary(self, state: Any, record: TokenRecord) -> list[dict[str, Any] | None]:
        """One entry for each choice of the request: None of one that has not begun."""
        summary: Summary = getattr(state, _SUMMARY)
        summary.add([record])
        self._metrics.reported([record])
        owner, index = host.choice_of(state)
        told: dict[int, Summary] = owner.__dict__.setdefault(_TOLD, {})
        told[index] = summary
        return [told[i].to_dict() if i in told else None for i in range(max(told) + 1)]
