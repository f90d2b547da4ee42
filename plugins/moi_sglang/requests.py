"""A request's settings: checked where it enters, turned into its state where it is scheduled."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any

from moi_serving.metrics import Metrics
from moi_serving.mixing_marks import Thinking
from moi_serving.replay import RequestState, keep_state, seed_of
from moi_serving.settings import KEY, RequestSettings, ServerSettings, check_vocabulary, request_settings
from moi_serving.telemetry import TokenTelemetry
from moi_sglang.host import requests as host


class RequestValidation:
    """The hook of the process that takes requests: a ValueError there is an HTTP 400.

    SGLang hooks a target once in a process, which may have several engines: a request must suit one of them here, and
    the one that it is for in that one's scheduler.
    """

    def __init__(self) -> None:
        self.metrics = Metrics()
        self._served: list[ServerSettings] = []

    def serve(self, settings: ServerSettings) -> None:
        """An engine of this process has these settings."""
        if settings not in self._served:
            self._served.append(settings)

    def verify(self, result: Any, params: Any, vocab_size: int, *args: Any, **kwargs: Any) -> None:
        """AFTER the check of a request's sampling parameters. ValueError for bad settings."""
        refusals = list[ValueError]()
        for served in self._served:
            try:
                _check_sampling(request_settings(host.custom_params(params), served), params, vocab_size)
            except ValueError as error:
                refusals.append(error)
        if refusals and len(refusals) == len(self._served):
            self.metrics.refused()
            raise refusals[-1]


class RequestInitialisation:
    """The hook of the scheduler process, which must never raise: one bad request would end the server."""

    def __init__(self, settings: ServerSettings, metrics: Metrics) -> None:
        self._settings = settings
        self._metrics = metrics
        self._thinking = Thinking()

    def created(self, req: Any, scheduler: Any, recv_req: Any, *args: Any, **kwargs: Any) -> None:
        """AFTER a request is made: its state, or its end with the reason."""
        keep_state(req, None)
        try:
            params = host.sampling_of(req)
            settings = request_settings(host.custom_params(params), self._settings)
            _check_sampling(settings, params, host.vocab_size(host.model_config(scheduler)))
            _check_inputs(settings, host.input_beside_tokens(recv_req, scheduler))
            if settings.mixes or settings.per_token:
                marks = self._thinking.marks(settings, lambda: host.thinking_words(scheduler))
                seed = seed_of(host.sampling_seed(params), host.request_id(req))
                keep_state(req, state := RequestState(settings, marks, seed))
                host.report(req, TokenTelemetry(state))
        except ValueError as error:
            self._metrics.refused()
            host.abort(req, recv_req, str(error))
        except Exception as error:  # a mistake of ours, which is this request's alone
            logging.getLogger("moi_sglang").exception("MoI: request %s was not taken", host.request_id(req))
            reason = f"MoI: {type(error).__name__}: {error}"
            host.abort(req, recv_req, reason, HTTPStatus.INTERNAL_SERVER_ERROR, "InternalServerError")


def _check_sampling(settings: RequestSettings, params: Any, vocab_size: int) -> None:
    if settings.mixes and (host.beam_width(params) or 1) > 1:
        raise ValueError(f"beam_width={host.beam_width(params)} does not go with mixing; {_PLAIN}")
    check_vocabulary(settings, vocab_size)


_PLAIN = f'set custom_params["{KEY}"]["policy"] to "token"'


def _check_inputs(settings: RequestSettings, beside_tokens: list[str]) -> None:
    if settings.mixes and beside_tokens:
        raise ValueError(f"{beside_tokens[0]} does not go with mixing; {_PLAIN}")
