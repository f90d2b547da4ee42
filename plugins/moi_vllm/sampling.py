"""The sampler: computes the mixture of the logits a token is drawn from, and stores it in the request's slot.

The mixture is made after the grammar, bias, penalties and the thinking budget, before temperature, and completed with
the token, as `moi_serving.pending` says.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from torch import Tensor

from moi_vllm.host import attached
from moi_vllm.host import worker as host
from moi_vllm.runtime import Runtime
from moi_vllm.step import Owner, Step


def sampled(original: Callable[..., Any], sampler: Any, logits: Tensor, batch: Any, *args: Any) -> Any:
    """AROUND the sampling of a batch."""
    sampling: Sampling | None = attached(sampler)
    if sampling is None:
        return original(sampler, logits, batch, *args)
    return sampling.sample(original, sampler, logits, batch, *args)


def params_applied(original: Callable[..., Any], sampler: Any, logits: Tensor, *args: Any, **kwargs: Any) -> Any:
    """AROUND all that changes logits [B,V]: where nothing does, the last stage is not reached."""
    result = original(sampler, logits, *args, **kwargs)
    if (sampling := attached(sampler)) is not None:
        sampling.final(logits)
    return result


def logits_final(original: Callable[..., Any], stage: Any, logits: Tensor, *args: Any, **kwargs: Any) -> None:
    """AROUND the last stage before temperature, which changes logits [B,V] in place."""
    original(stage, logits, *args, **kwargs)
    if (sampling := attached(stage)) is not None:
        sampling.final(logits)


class Sampling:
    """Of one sampler and of its last stage, to which it is attached."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._read: Callable[[Tensor], None] | None = None  # of the batch being sampled, until its logits were read
        self._pending: Any = None

    def sample(self, original: Callable[..., Any], sampler: Any, logits: Tensor, batch: Any, *args: Any) -> Any:
        """What the sampler gives, with its rows."""
        runtime, slots = self._runtime, host.slots_on_host(batch)
        if not runtime.active[slots].any():
            return original(sampler, logits, batch, *args)
        position = host.next_positions_on_host(batch)
        generates = position >= host.prefill_lengths(batch)
        stored_in = self._stored_in(batch, generates)
        self._read, self._pending = lambda final: self._compute(sampler, batch, stored_in, final), None
        try:
            output = original(sampler, logits, batch, *args)
        finally:
            self._read = None
        if self._pending is None:
            raise RuntimeError("MoI: the sampler did not show its logits; nothing was mixed")
        token, next_position = host.sampled_tokens(output)[:, 0], host.next_positions(batch)
        rows = runtime.slots.store(stored_in, self._pending, token, next_position, bool(runtime.may_stop))
        host.keep_rows(output, Step(runtime.steps, rows, self._owners(batch, position, generates)))
        return output

    def final(self, logits: Tensor) -> None:
        """Logits [B,V] as they are before temperature; the first of a batch count."""
        if self._read is not None:
            read, self._read = self._read, None
            read(logits)

    def _compute(self, sampler: Any, batch: Any, slots: Tensor, logits: Tensor) -> None:
        position = host.next_positions(batch) if self._runtime.may_draw else None
        temperature = host.temperatures(sampler, batch)
        self._pending = self._runtime.slots.compute(slots, logits.float(), temperature, position)

    def _stored_in(self, batch: Any, generates: Any) -> Tensor:
        """Slots int64 [B]. A chunk of a prefill samples, too, which means nothing: its row goes to the spare slot."""
        if generates.all():
            return host.slots(batch)
        runtime = self._runtime
        return runtime.upload(np.where(generates, host.slots_on_host(batch), runtime.spare).astype(np.int64))

    def _owners(self, batch: Any, position: Any, generates: Any) -> list[Owner]:
        runtime, slots = self._runtime, host.slots_on_host(batch)
        generated, identities = (position - runtime.prompt_length[slots]).tolist(), host.request_ids(batch)
        counts = generates.tolist()
        return [
            Owner(index, identities[index], state, generated[index])
            for index, slot in enumerate(slots.tolist())
            if counts[index] and (state := runtime.in_slot[slot]) is not None
        ]
