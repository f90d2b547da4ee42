"""The sampler: computes the mixture of the logits a token is drawn from, and stores it in the request's slot.

The mixture is made while the logits are intact (SGLang turns them into probabilities in place) and completed with the
token, as `moi.pending` says.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from moi_sglang.host import batches as host
from moi_sglang.runtime import Runtime, metadata_of
from moi_sglang.telemetry import Telemetry


class Sampling:
    """Hooks around the sampling of one batch."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._slots: Tensor | None = None  # of the batch being sampled, until its logits were read
        self._position: Tensor | None = None  # where its tokens will be fed, if some row is completed with it
        self._pending: Any = None

    def sample(self, original: Any, runner: Any, logits_output: Any, forward_batch: Any, *args: Any, **kw: Any) -> Any:
        """AROUND the sampling of a batch: tokens [B]."""
        if runner is not self._runtime.runner or not metadata_of(forward_batch).active:
            return original(runner, logits_output, forward_batch, *args, **kw)
        slots, rows = host.slots(forward_batch), len(host.logits(logits_output))
        if len(slots) != rows:  # a graph has more
            slots = slots[:rows]
        position = host.next_positions(forward_batch)
        position = position if len(position) == rows else position[:rows]
        self._slots, self._pending = slots, None
        self._position = position if self._runtime.may_complete else None
        try:
            token = original(runner, logits_output, forward_batch, *args, **kw)
        finally:
            self._slots = None
        if self._pending is not None:
            packed = self._runtime.slots.store(slots, self._pending, token, position, bool(self._runtime.may_stop))
            host.send_to_host(logits_output, Telemetry(packed, self._runtime.metrics))
        return token

    def logits_final(self, result: Any, sampler: Any, logits: Any, sampling_info: Any, *args: Any, **kw: Any) -> None:
        """AFTER the preparation of logits [B,V]: penalties, bias, grammar and custom processors are in.

        It may run again on other logits, and where nothing is sampled: only the first run of a sample counts.
        """
        if self._slots is None:
            return
        slots, self._slots = self._slots, None
        temperatures = host.temperatures(sampling_info)
        self._pending = self._runtime.slots.compute(slots, logits, temperatures, self._position)
