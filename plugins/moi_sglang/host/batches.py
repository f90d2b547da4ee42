"""SGLang's batches: as they are scheduled (`batch`), computed (`forward_batch`) and sampled (`logits_output`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor

from moi_sglang.host import SGLANG, Read

_FORWARD, _OUTPUT = "model_executor.forward_batch_info.ForwardBatch", "layers.logits_processor.LogitsProcessorOutput"

BATCH_MADE = SGLANG.hooked(f"{_FORWARD}.init_new(batch, model_runner)")
FORWARD = SGLANG.hooked("model_executor.forward_context.forward_context(ctx, *, forward_batch)")
PREFILL_GRAPH = SGLANG.hooked(
    "model_executor.runner.prefill_cuda_graph_runner.PrefillCudaGraphRunner.can_run_graph(forward_batch)"
)
SAMPLE = SGLANG.hooked("model_executor.model_runner.ModelRunner.sample(logits_output, forward_batch)")
LOGITS_FINAL = SGLANG.hooked("layers.sampler.Sampler._preprocess_logits(logits, sampling_info)")

slots: Read[Tensor] = SGLANG.field(_FORWARD, "req_pool_indices")  # int64 [B], the requests'
positions: Read[Tensor] = SGLANG.field(_FORWARD, "positions")  # of the tokens that are fed; in decode [B]
next_positions: Read[Tensor] = SGLANG.field(_FORWARD, "seq_lens")  # [B], where what is sampled now is fed
logits: Read[Tensor] = SGLANG.field(_OUTPUT, "next_token_logits")  # [B,V]
temperatures: Read[Tensor] = SGLANG.field("sampling.sampling_batch_info.SamplingBatchInfo", "temperatures")  # [B,1]
requests: Read[Sequence[Any]] = SGLANG.field("managers.schedule_batch.ScheduleBatch", "reqs")
committed: Read[Sequence[int]] = SGLANG.field("managers.auxiliary_output.CommittedTokens", "token_ids")

SGLANG.has("managers.schedule_batch.ScheduleBatch", "prefix_lens", "extend_lens", "forward_mode", "beam_tail")
SGLANG.has("beam_search.batch_tail.BeamTail", "num_base_rows")
SGLANG.has(_FORWARD, "forward_mode")
SGLANG.has(_OUTPUT, "auxiliary_device_output")
_MODE = "model_executor.forward_batch_info.ForwardMode"
SGLANG.called(f"{_MODE}.is_extend()", f"{_MODE}.is_decode()")
_appended = SGLANG.function("managers.auxiliary_output.append_auxiliary_output(current, output)")


def is_prefill(batch: Any) -> bool:
    """Of a batch as it is scheduled."""
    return bool(batch.forward_mode.is_extend())


def is_decode(forward_batch: Any) -> bool:
    """Of a batch as it is computed: one token a row."""
    return bool(forward_batch.forward_mode.is_decode())


def prefilled(batch: Any) -> Iterator[tuple[Any, int, int]]:
    """Requests of a prefill, each with the place of its first token to compute and the number of them."""
    return zip(batch.reqs, batch.prefix_lens, batch.extend_lens, strict=True)


def beam_slots(forward_batch: Any, batch: Any) -> Tensor | None:
    """Slots [n] of the members of beams, whose rows come after all others."""
    beams = batch.beam_tail
    return None if beams is None else slots(forward_batch)[beams.num_base_rows :]


def send_to_host(output: Any, records: Any) -> None:
    """Have what a sample recorded copied to the host and consumed there."""
    output.auxiliary_device_output = _appended(output.auxiliary_device_output, records)
