"""SGLang's requests: from their entry to their responses, and their KV in the prefix cache."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from moi_serving.mixing_marks import Marks, thinking_marks
from moi_serving.settings import KEY
from moi_sglang.host import SGLANG, Read

_REQ, _RECEIVED = "managers.schedule_batch.Req", "managers.io_struct.TokenizedGenerateReqInput"
_SCHEDULER, _CACHE = "managers.scheduler.Scheduler", "mem_cache.base_prefix_cache.BasePrefixCache"


REQUEST_ENTERS = SGLANG.hooked("sampling.sampling_params.SamplingParams.verify(vocab_size)")
REQUEST_SCHEDULED = SGLANG.hooked(f"{_SCHEDULER}._create_generation_req(recv_req)")
RESPONSE_GROWS = SGLANG.hooked(
    "managers.tokenizer_manager.TokenizerManager.update_request_meta_info(meta_info, state, customized_info, index)"
)
RELEASE_KV = SGLANG.hooked("mem_cache.common.release_kv_cache(req, tree_cache, *, checkpoint)")
CHECKPOINT_KV = SGLANG.hooked("mem_cache.common.checkpoint_kv_cache(req, tree_cache)")
MAX_PREFIX = SGLANG.hooked(f"{_REQ}._compute_max_prefix_len(input_len)")

request_id: Read[str] = SGLANG.field(_REQ, "rid")
prompt_ids: Read[Sequence[int]] = SGLANG.field(_REQ, "origin_input_ids")
output_ids: Read[Sequence[int]] = SGLANG.field(_REQ, "output_ids")
sampling_of: Read[Any] = SGLANG.field(_REQ, "sampling_params")
custom_params: Read[Any] = SGLANG.field("sampling.sampling_params.SamplingParams", "custom_params")
sampling_seed: Read[int | None] = SGLANG.field("sampling.sampling_params.SamplingParams", "sampling_seed")
beam_width: Read[int | None] = SGLANG.field("sampling.sampling_params.SamplingParams", "beam_width")
vocab_size: Read[int] = SGLANG.field(_SCHEDULER, "model_config.vocab_size")

SGLANG.has(_REQ, "customized_info", "input_embeds", "positional_embed_overrides")
SGLANG.has(_REQ, "kv", "extend_end", "prefix_len", "skip_radix_cache_insert")
SGLANG.has("managers.schedule_batch.ReqKvInfo", "holds_kv", "cache_protected_len")
SGLANG.has(_RECEIVED, "session_params", "session_id", "input_embeds", "positional_embed_overrides")
SGLANG.has(_RECEIVED, "return_logprob", "logprob_start_len")
SGLANG.has("managers.io_struct.SessionParams", "id")
SGLANG.has(_SCHEDULER, "enable_session_radix_cache", "tokenizer")
SGLANG.called(f"{_REQ}.owned_kv_len()", f"{_REQ}.set_finish_with_abort(error_msg, status_code, err_type)")
SGLANG.called(f"{_CACHE}.supports_mamba()", f"{_CACHE}.checkpoint(req, *, up_to)")
_serving = SGLANG.function("runtime_context.get_serving()")
_reasoning = SGLANG.function("parser.reasoning_parser.ReasoningParser(*, model_type, stream_reasoning, tokenizer)")


def input_beside_tokens(received: Any, scheduler: Any) -> list[str]:
    """Names of what a request brings to its prompt that is no token of its own."""
    session = received.session_params is not None and received.session_params.id is not None
    radix_session = received.session_id is not None and scheduler.enable_session_radix_cache
    brought = {
        "session_params": session or radix_session,
        "input_embeds": received.input_embeds is not None,
        "positional_embed_overrides": received.positional_embed_overrides is not None,
    }
    return [name for name, present in brought.items() if present]


def report(req: Any, records: Any) -> None:
    """Have one of `records` sent with each token of a request."""
    req.customized_info = {KEY: records}


def abort(req: Any, received: Any, reason: str, *kind: Any) -> None:
    """End a request with a 400, or the status and type of error in `kind`.

    SGLang prefills one token of an aborted request: without embeddings, which it cannot batch with token ids.
    What it would check after this must not fail in turn, and put its own reason in place of this one.
    """
    req.input_embeds = req.positional_embed_overrides = None
    received.return_logprob, received.logprob_start_len = False, -1
    req.set_finish_with_abort(reason, *kind)


def marks(scheduler: Any) -> Marks:
    """Around the thinking of a scheduler's model; as `thinking_marks`."""
    tokenizer, name = scheduler.tokenizer, _serving().reasoning_parser
    start, end = "<think>", "</think>"
    if name and tokenizer is not None:
        detector = _reasoning(model_type=name, stream_reasoning=False, tokenizer=tokenizer).detector
        start, end = detector.think_start_token, detector.think_end_token
    return thinking_marks(tokenizer, start, end, scheduler.model_config.think_end_ids)


def owns_past_prompt(req: Any) -> bool:
    """Whether a request holds KV of tokens that it generated."""
    return bool(req.kv.holds_kv and req.owned_kv_len() > len(req.origin_input_ids))


def ends_past_prompt(req: Any) -> bool:
    """Whether a prefill that ends computed tokens that its request had generated."""
    return bool(req.extend_end > len(req.origin_input_ids))


def end_prefill(req: Any, cache: Any) -> None:
    """As SGLang does, but the prefix cache takes the prompt alone, unless it has it."""
    prompt = len(req.origin_input_ids)
    # A recurrent state is that of all tokens so far: it cannot be cached as the prompt's.
    insert = not req.skip_radix_cache_insert and not cache.supports_mamba()
    if insert and req.kv.cache_protected_len < prompt:
        cache.checkpoint(req, up_to=prompt)
    req.prefix_len = req.extend_end
