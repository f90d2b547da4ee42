"""The sampler: computes the mixture of the logits a token is drawn from, and stores it in the request's slot.

The weights of a mixture do not depend on the token, only component 0 of its ids does. So the mixture is made
while the logits are intact (SGLang turns them into probabilities in place) and completed with the token.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from moi_sglang.batch_metadata import metadata_of
from moi_sglang.runtime import Runtime
from moi_sglang.telemetry import DeviceRecords


class Sampling:
    """Hooks around the sampling of one batch."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._slots: Tensor | None = None  # of the batch being sampled, until its logits were read
        self._pending: Any = None

    def sample(self, original: Callable[..., Tensor], runner: Any, logits_output: Any, forward_batch: Any) -> Tensor:
        """AROUND ModelRunner.sample."""
        if not self._runtime.owns(runner) or not metadata_of(forward_batch).active:
            return original(runner, logits_output, forward_batch)
        slots: Tensor = forward_batch.req_pool_indices[: logits_output.next_token_logits.shape[0]]
        self._slots, self._pending = slots, None
        try:
            token = original(runner, logits_output, forward_batch)
        finally:
            self._slots = None
        if self._pending is not None:
            self._store(self._pending, slots, token, logits_output, forward_batch)
        return token

    def logits_final(self, result: Any, sampler: Any, logits: Tensor, sampling_info: Any) -> None:
        """AFTER Sampler._preprocess_logits: penalties, bias, grammar and custom processors are in.

        It may run again on other logits, and where nothing is sampled: only the first run of a sample counts.
        """
        if self._slots is None:
            return
        slots, self._slots = self._slots, None
        self._pending = self._runtime.slots.compute(slots, logits, sampling_info.temperatures.view(-1))

    def _store(self, pending: Any, slots: Tensor, token: Tensor, logits_output: Any, forward_batch: Any) -> None:
        from sglang.srt.managers.auxiliary_output import append_auxiliary_output

        position = forward_batch.seq_lens[: len(slots)]
        rows = self._runtime.slots.store(slots, pending, token, position, bool(self._runtime.may_stop))
        logits_output.auxiliary_device_output = append_auxiliary_output(
            logits_output.auxiliary_device_output, DeviceRecords(rows, self._runtime.metrics)
        )
