"""vLLM's model runner: its slots, the batches it computes and samples, and what it sends to the host."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor

from moi_vllm.host import VLLM, Read, attached

_GPU = "v1.worker.gpu"
_BATCH, _RUNNER = f"{_GPU}.input_batch.InputBatch", f"{_GPU}.model_runner.GPUModelRunner"
_STATE, _SAMPLER = f"{_GPU}.model_states.interface.ModelState", f"{_GPU}.sample.sampler.Sampler"

STATE_CHOSEN = VLLM.hooked(f"{_GPU}.model_states.resolve_model_state_cls(vllm_config, model)")
REQUESTS_END = VLLM.hooked(f"{_RUNNER}.finish_requests(scheduler_output)")
SAMPLE = VLLM.hooked(f"{_SAMPLER}.__call__(logits, input_batch)")
PARAMS_APPLIED = VLLM.hooked(f"{_SAMPLER}.apply_sampling_params(logits)")
LOGITS_FINAL = VLLM.hooked(f"{_GPU}.sample.thinking_budget.ThinkingBudgetState.apply(logits)")
OUTPUT_MADE = VLLM.hooked(
    f"{_GPU}.async_utils.AsyncOutput.__init__"
    "(model_runner_output, sampler_output, num_sampled_tokens, main_stream, copy_stream)"
)
OUTPUT_READ = VLLM.hooked(f"{_GPU}.async_utils.AsyncOutput.get_output()")

request_ids: Read[Sequence[str]] = VLLM.field(_BATCH, "req_ids")
slots: Read[Tensor] = VLLM.field(_BATCH, "idx_mapping")  # int64 [B]
slots_on_host: Read[npt.NDArray[Any]] = VLLM.field(_BATCH, "idx_mapping_np")  # [B]
positions: Read[Tensor] = VLLM.field(_BATCH, "positions")  # [T and padding]
input_ids: Read[Tensor] = VLLM.field(_BATCH, "input_ids")  # [T and padding]
token_count: Read[int] = VLLM.field(_BATCH, "num_tokens")  # T
padded_count: Read[int] = VLLM.field(_BATCH, "num_tokens_after_padding")
prefill_lengths: Read[npt.NDArray[Any]] = VLLM.field(
    _BATCH, "prefill_len_np"
)  # [B], tokens to prefill before the first is generated
computed: Read[npt.NDArray[Any]] = VLLM.field(_BATCH, "num_computed_tokens_np")  # [B], before this step
scheduled: Read[npt.NDArray[Any]] = VLLM.field(_BATCH, "num_scheduled_tokens")  # [B], in this step
ends: Read[Tensor] = VLLM.field(_BATCH, "query_start_loc")  # [B+1]
ends_on_host: Read[npt.NDArray[Any]] = VLLM.field(_BATCH, "query_start_loc_np")
sampled_tokens: Read[Tensor] = VLLM.field(f"{_GPU}.sample.output.SamplerOutput", "sampled_token_ids")  # [B,1]
finished_ids: Read[Iterable[str]] = VLLM.field("v1.core.sched.output.SchedulerOutput", "finished_req_ids")

VLLM.has(_BATCH, "num_reqs", "seq_lens", "seq_lens_cpu_upper_bound")
VLLM.has(_STATE, "max_num_reqs", "max_num_tokens", "inputs_embeds_size", "dtype", "supports_mm_inputs")
VLLM.has(_STATE, "model_config", "device")
VLLM.has("config.model.ModelConfig", "enable_prompt_embeds")
VLLM.has(_SAMPLER, "sampling_states", "thinking_budget_state")
VLLM.has(_RUNNER, "model_state")
VLLM.has(f"{_GPU}.sample.states.SamplingStates", "temperature")
VLLM.has("v1.core.sched.output.NewRequestData", "req_id", "prompt_len", "prefill_token_ids", "sampling_params")
VLLM.has(f"{_GPU}.async_utils.AsyncOutput", "copy_event", "model_runner_output")
VLLM.called(f"{_STATE}.prepare_inputs(input_batch, req_states)", f"{_STATE}.prepare_dummy_inputs(num_reqs, num_tokens)")
VLLM.called(f"{_STATE}.prepare_inputs_embeds(scheduled_encoder_inputs, input_batch, req_states)")
VLLM.called(f"{_STATE}.add_request(req_index, new_req_data)", f"{_STATE}.apply_staged_writes()")
VLLM.called(f"{_STATE}.custom_sampler(sampler)")
_stream = VLLM.function(f"{_GPU}.async_utils.stream(to_stream, from_stream)")
_copied = VLLM.function(f"{_GPU}.async_utils.async_copy_to_np(x)")

_ROWS = "moi_rows"  # on a SamplerOutput, and then on an AsyncOutput
_REPORT = "moi_report"  # on a ModelRunnerOutput, pickled with it


def row_count(batch: Any) -> int:
    """B, without padding."""
    return int(batch.num_reqs)


def next_positions(batch: Any) -> Tensor:
    """int32 [B], where what is sampled now is fed."""
    found: Tensor = batch.seq_lens[: batch.num_reqs]
    return found


def next_positions_on_host(batch: Any) -> npt.NDArray[Any]:
    """The same [B], known without waiting for the device: exact where no drafts are verified."""
    found: npt.NDArray[Any] = batch.seq_lens_cpu_upper_bound.numpy()[: batch.num_reqs]
    return found


def temperatures(sampler: Any, batch: Any) -> Tensor:
    """float32 [B]"""
    found: Tensor = sampler.sampling_states.temperature.gpu.index_select(0, batch.idx_mapping)
    return found


def keep_rows(owner: Any, rows: Any) -> None:
    """On what goes with a step's tokens."""
    setattr(owner, _ROWS, rows)


def kept_rows(owner: Any) -> Any:
    """Or None."""
    return getattr(owner, _ROWS, None)


def copy_rows(rows: Tensor, main_stream: Any, copy_stream: Any) -> npt.NDArray[Any]:
    """Rows to the host, on the stream of vLLM's own copies, after what computes them."""
    with _stream(copy_stream, main_stream):
        copy_stream.wait_stream(main_stream)
        found: npt.NDArray[Any] = _copied(rows)
        return found


def copied_event(output: Any) -> Any:
    """What vLLM records behind all copies of an AsyncOutput."""
    return output.copy_event


def report(model_output: Any, records: dict[str, Any]) -> None:
    """Send records by request id, with what a worker sends to the scheduler."""
    setattr(model_output, _REPORT, records)


def reported(model_output: Any) -> dict[str, Any]:
    """The same, in the scheduler's process; nothing from a worker without the plugin."""
    return getattr(model_output, _REPORT, None) or {}


def thinking_budget(sampler: Any) -> Any:
    """The last stage of a sampler before temperature."""
    return sampler.thinking_budget_state


def runtime_of(runner: Any) -> Any:
    """What is attached to a runner's ModelState."""
    return attached(runner.model_state)


def state_class(cls: type, mixing: type, **attributes: Any) -> type:
    """vLLM's ModelState for a model, with `mixing` before it."""
    return type(f"MoI{cls.__name__}", (mixing, cls), attributes)


def slot_count(state: Any) -> int:
    """Request slots of a ModelState's runner."""
    return int(state.max_num_reqs)


def vocab_size(state: Any) -> int:
    """Ids that its model knows."""
    return int(state.model_config.get_vocab_size())


def device(state: Any) -> torch.device:
    """Of its model."""
    found: torch.device = state.device
    return found


def runner_embeds(state: Any) -> bool:
    """Whether the runner asks a ModelState for embeddings, and passes those on."""
    return bool(state.supports_mm_inputs or state.model_config.enable_prompt_embeds)


def input_buffer(state: Any) -> Tensor:
    """Zeros [most tokens of a batch,D]."""
    return torch.zeros(state.max_num_tokens, state.inputs_embeds_size, dtype=state.dtype, device=state.device)


def new_id(new: Any) -> str:
    """Of a request that is given a slot."""
    return str(new.req_id)


def new_sampling(new: Any) -> Any:
    """Its sampling parameters, or None."""
    return new.sampling_params


def prompt_and_output(new: Any) -> tuple[list[int], list[int]]:
    """Token ids of its prompt, and those it had generated before it was preempted."""
    ids = list(new.prefill_token_ids or ())
    return ids[: new.prompt_len], ids[new.prompt_len :]
