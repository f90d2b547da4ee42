"""A request's settings: checked where it enters, turned into its state where it is scheduled."""

from __future__ import annotations

import functools
import logging
from http import HTTPStatus
from typing import Any

from moi_serving.metrics import Metrics
from moi_serving.mixing_marks import marks_of
from moi_serving.replay import RequestState, seed_of
from moi_serving.settings import KEY, RequestSettings, ServerSettings, check_vocabulary, request_settings
from moi_serving.telemetry import TokenTelemetry
from moi_sglang.host import requests as host

_PLAIN = f'set custom_params["{KEY}"]["policy"] to "token"'


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
            self.metrics.count("refused_requests")
            raise refusals[-1]


class RequestInitialisation:
    """The hook of the scheduler process, which must never raise: one bad request would end the server."""

    def __init__(self, settings: ServerSettings, metrics: Metrics) -> None:
        self._settings = settings
        self._metrics = metrics
        self._thinking = functools.cache(host.marks)

    def created(self, req: Any, scheduler: Any, recv_req: Any, *args: Any, **kwargs: Any) -> None:
        """AFTER a request is made: its state, or its end with the reason."""
        req.moi = None
        try:
            params = host.sampling_of(req)
            settings = request_settings(host.custom_params(params), self._settings)
            _check_sampling(settings, params, host.vocab_size(scheduler))
            if settings.mixes and (beside := host.input_beside_tokens(recv_req, scheduler)):
                raise ValueError(f"{beside[0]} does not go with mixing; {_PLAIN}")
            if settings.mixes or settings.per_token:
                marks = marks_of(settings, lambda: self._thinking(scheduler))
                seed = seed_of(host.sampling_seed(params), host.request_id(req))
                req.moi = RequestState(settings, marks, seed)  # it goes with the request
                host.report(req, TokenTelemetry(req.moi))
        except ValueError as error:
            self._metrics.count("refused_requests")
            host.abort(req, recv_req, str(error))
        except Exception as error:  # a mistake of ours, which is this request's alone
            logging.getLogger("moi_sglang").exception("MoI: request %s was not taken", host.request_id(req))
            reason = f"MoI: {type(error).__name__}: {error}"
            host.abort(req, recv_req, reason, HTTPStatus.INTERNAL_SERVER_ERROR, "InternalServerError")


def _check_sampling(settings: RequestSettings, params: Any, vocab_size: int) -> None:
    if settings.mixes and (host.beam_width(params) or 1) > 1:
        raise ValueError(f"beam_width={host.beam_width(params)} does not go with mixing; {_PLAIN}")
    check_vocabulary(settings, vocab_size)
