"""A request's settings: checked where it enters, turned into its state where it is scheduled."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any

from moi_serving.metrics import Metrics
from moi_serving.replay import Records, RequestState
from moi_serving.settings import KEY, RequestSettings, ServerSettings, request_settings
from moi_sglang.thinking import Thinking


class RequestValidation:
    """The hook of the tokenizer process: a ValueError there is an HTTP 400."""

    def __init__(self, settings: ServerSettings, metrics: Metrics) -> None:
        self._settings = settings
        self._metrics = metrics

    def verify(self, result: Any, params: Any, vocab_size: int) -> None:
        """AFTER SamplingParams.verify."""
        try:
            settings = request_settings(params.custom_params, self._settings)
            _check_sampling(settings, params, vocab_size)
        except ValueError:
            self._metrics.refused()
            raise


class RequestInitialisation:
    """The hook of the scheduler process, which must never raise: one bad request would end the server."""

    def __init__(self, settings: ServerSettings, metrics: Metrics) -> None:
        self._settings = settings
        self._metrics = metrics
        self._thinking = Thinking()

    def created(self, req: Any, scheduler: Any, recv_req: Any, *args: Any, **kwargs: Any) -> None:
        """AFTER Scheduler._create_generation_req."""
        req.moi = None
        try:
            settings = request_settings(req.sampling_params.custom_params, self._settings)
            _check_sampling(settings, req.sampling_params, scheduler.model_config.vocab_size)
            _check_inputs(settings, recv_req, scheduler)
            if settings.mixes or settings.per_token:
                req.moi = RequestState(settings, self._thinking.marks(settings, scheduler))
                req.customized_info = {KEY: Records(req.moi)}
        except ValueError as error:
            self._metrics.refused()
            _abort(req, recv_req, str(error))
        except Exception as error:  # a mistake of ours, which is this request's alone
            logging.getLogger("moi_sglang").exception("MoI: request %s was not taken", req.rid)
            reason = f"MoI: {type(error).__name__}: {error}"
            _abort(req, recv_req, reason, HTTPStatus.INTERNAL_SERVER_ERROR, "InternalServerError")


def _abort(req: Any, recv_req: Any, reason: str, *kind: Any) -> None:
    """End a request with a 400, or the status and type of error in `kind`.

    SGLang prefills one token of an aborted request: without embeddings, which it cannot batch with token ids.
    What it would check after this must not fail in turn, and put its own reason in place of this one.
    """
    req.input_embeds = req.positional_embed_overrides = None
    recv_req.return_logprob, recv_req.logprob_start_len = False, -1
    req.set_finish_with_abort(reason, *kind)


def _check_sampling(settings: RequestSettings, params: Any, vocab_size: int) -> None:
    if settings.mixes and (params.beam_width or 1) > 1:
        raise ValueError(f"beam_width={params.beam_width} does not go with mixing; {_PLAIN}")
    if isinstance(settings.until, int) and settings.until >= vocab_size:
        raise ValueError(f"until={settings.until} is not allowed; the model's vocabulary has {vocab_size} ids")


_PLAIN = f'set custom_params["{KEY}"]["policy"] to "token"'


def _check_inputs(settings: RequestSettings, recv_req: Any, scheduler: Any) -> None:
    session = recv_req.session_params is not None and recv_req.session_params.id is not None
    radix_session = recv_req.session_id is not None and scheduler.enable_session_radix_cache
    refused = {
        "session_params": session or radix_session,
        "input_embeds": recv_req.input_embeds is not None,
        "positional_embed_overrides": recv_req.positional_embed_overrides is not None,
    }
    for name, present in refused.items():
        if settings.mixes and present:
            raise ValueError(f"{name} does not go with mixing; {_PLAIN}")
