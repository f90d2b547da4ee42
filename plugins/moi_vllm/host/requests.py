"""vLLM's requests: in the front end, which takes them and answers, and in the engine core, which schedules them."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from moi_serving.mixing_marks import Marks, thinking_marks
from moi_vllm.host import VLLM, Read
from moi_vllm.host.server import reasoning_config

_INPUT, _OUTPUT = "v1.engine.input_processor.InputProcessor", "v1.engine.output_processor"
_PARAMS, _CORE, _REQUEST = "sampling_params.SamplingParams", "v1.engine", "v1.request.Request"
_KEYS = "generate_block_hash_extra_keys(request, start_token_idx, end_token_idx, start_mm_idx)"

PARAMS_CHECKED = VLLM.hooked(f"{_INPUT}._validate_params(params)")
REQUEST_ENTERS = VLLM.hooked(f"{_INPUT}.process_inputs(*, params, resumable)")
REQUEST_ADDED = VLLM.hooked(f"{_OUTPUT}.OutputProcessor.add_request(request)")
OUTPUTS_ARRIVE = VLLM.hooked(f"{_OUTPUT}.OutputProcessor.process_outputs(engine_core_outputs)")
BLOCK_KEYS = tuple(
    VLLM.hooked(f"{module}.{_KEYS}")
    for module in ("v1.core.kv_cache_utils", "v1.core.block_pool", "v1.simple_kv_offload.manager")
)
REQUEST_SCHEDULED = VLLM.hooked("v1.core.sched.scheduler.Scheduler.add_request(request)")
STEP_ENDS = VLLM.hooked("v1.core.sched.scheduler.Scheduler.update_from_output(scheduler_output, model_runner_output)")

sampling_of: Read[Any] = VLLM.field(_REQUEST, "sampling_params")
prompt_length: Read[int] = VLLM.field(_REQUEST, "num_prompt_tokens")
request_id: Read[str] = VLLM.field(f"{_CORE}.EngineCoreOutput", "request_id")
new_tokens: Read[Sequence[int]] = VLLM.field(f"{_CORE}.EngineCoreOutput", "new_token_ids")

VLLM.has(_PARAMS, "extra_args", "seed")
VLLM.has(f"{_CORE}.EngineCoreRequest", "request_id", "sampling_params")
VLLM.has(f"{_CORE}.EngineCoreOutput", "kv_transfer_params", "finish_reason")
VLLM.has(f"{_CORE}.EngineCoreOutputs", "outputs")
VLLM.has(f"{_CORE}.FinishReason", "ERROR")
VLLM.has(f"{_OUTPUT}.OutputProcessor", "request_states")
VLLM.has(f"{_OUTPUT}.RequestState", "parent_req", "request_index", "output_kind")
VLLM.has("v1.engine.parallel_sampling.ParentRequest", "child_requests")
VLLM.has("v1.core.sched.output.SchedulerOutput", "num_scheduled_tokens")
VLLM.has("v1.core.sched.scheduler.Scheduler", "requests")
VLLM.has("v1.request.RequestStatus", "FINISHED_ERROR")
VLLM.has(_INPUT, "vllm_config", "tokenizer")
VLLM.called("v1.core.sched.scheduler.Scheduler.finish_requests(request_ids, finished_status)")
VLLM.called(f"{_REQUEST}.is_finished()")
_ERROR = VLLM.function("exceptions.VLLMValidationError(message, parameter)")


def is_sampling(params: Any) -> bool:
    """Whether these are the parameters of a request that generates."""
    return hasattr(params, "extra_args") and hasattr(params, "temperature")


def sampling_seed(params: Any) -> int | None:
    """Of a request's parameters."""
    seed: int | None = params.seed
    return seed


def extra_args(params: Any) -> Mapping[str, Any]:
    """vllm_xargs of a request."""
    return getattr(params, "extra_args", None) or {}


def set_extra(request: Any, key: str, value: Any) -> None:
    """Keep a value with the front end's own copy of a request's parameters, with which it travels to all processes."""
    params = request.sampling_params
    params.extra_args = {**extra_args(params), key: value}


def set_own_extra(request: Any, key: str, value: Any) -> None:
    """The same where the choices of a request may share their parameters: this one has its own from now on."""
    request.sampling_params = copy.copy(request.sampling_params)
    set_extra(request, key, value)


def bad_request(reason: str) -> Exception:
    """What vLLM answers with an HTTP 400."""
    error: Exception = _ERROR(reason, parameter="vllm_xargs")
    return error


def marks(processor: Any) -> Marks:
    """Around the thinking of the model that an InputProcessor takes requests for; as `thinking_marks`."""
    tokenizer, config = processor.tokenizer, reasoning_config(processor.vllm_config)
    ends = None if config is None else config.natural_reasoning_end_token_ids
    starts = None if config is None else config.reasoning_start_token_ids
    start = tokenizer.decode(starts) if starts and tokenizer is not None else "<think>"
    return thinking_marks(tokenizer, start, "</think>", ends)


def state_of(processor: Any, identity: str) -> Any:
    """What the front end keeps of a request; None once it has ended."""
    return processor.request_states.get(identity)


def choice_of(state: Any) -> tuple[Any, int]:
    """Whose choice a front end's request is: the request that several choices share, or itself, and its index."""
    return (state, 0) if state.parent_req is None else (state.parent_req, state.request_index)


def repeats(state: Any) -> bool:
    """Whether each output of a request repeats those before it, as vLLM's library does and its server does not."""
    return bool(state.output_kind.name == "CUMULATIVE")


def told(output: Any, key: str) -> Any:
    """What the core sent beside a step's tokens."""
    return (output.kv_transfer_params or {}).get(key)


def tell(output: Any, key: str, value: Any) -> None:
    """Send a value beside a step's tokens: the front end passes it on to the response."""
    output.kv_transfer_params = {**(output.kv_transfer_params or {}), key: value}


def core_outputs(outputs: Mapping[int, Any]) -> Iterator[Any]:
    """All of a step's, of every front end."""
    for each in outputs.values():
        yield from each.outputs


def stepped(scheduled: Any) -> list[str]:
    """Ids of the requests that a step computed."""
    return list(scheduled.num_scheduled_tokens)


def core_request(scheduler: Any, identity: str) -> Any:
    """A request that the scheduler still has, or None."""
    return scheduler.requests.get(identity)


def end_with_error(scheduler: Any, output: Any) -> None:
    """End the request of an output now, without the tokens that it brought."""
    from vllm.v1.engine import FinishReason
    from vllm.v1.request import RequestStatus

    request = core_request(scheduler, output.request_id)
    if request is not None and not request.is_finished():
        scheduler.finish_requests([output.request_id], RequestStatus.FINISHED_ERROR)
    output.new_token_ids, output.new_logprobs, output.finish_reason = [], None, FinishReason.ERROR
