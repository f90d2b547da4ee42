"""The sampler: computes the mixture of the logits a token is drawn from, and stores it in the request's slot.

The mixture is made after the grammar, bias, penalties and the thinking budget, before temperature, and completed with
the token, as `moi.pending` says.
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
        runtime = self._runtime
        owners, chunks = self._owners(batch) if runtime.states else ([], [])
        if not owners:
            return original(sampler, logits, batch, *args)
        slots = self._stored_in(batch, chunks)
        self._read, self._pending = lambda final: self._compute(sampler, batch, slots, final), None
        try:
            output = original(sampler, logits, batch, *args)
        finally:
            self._read = None
        if self._pending is None:
            raise RuntimeError("MoI: the sampler did not show its logits; nothing was mixed")
        token, position = host.sampled_tokens(output)[:, 0], host.next_positions(batch)
        rows = runtime.slots.store(slots, self._pending, token, position, bool(runtime.may_stop))
        host.keep_rows(output, Step(runtime.steps, rows, owners))
        return output

    def final(self, logits: Tensor) -> None:
        """Logits [B,V] as they are before temperature; the first of a batch count."""
        if self._read is not None:
            read, self._read = self._read, None
            read(logits)

    def _compute(self, sampler: Any, batch: Any, slots: Tensor, logits: Tensor) -> None:
        position = host.next_positions(batch) if self._runtime.may_complete else None
        temperature = host.temperatures(sampler, batch)
        self._pending = self._runtime.slots.compute(slots, logits.float(), temperature, position)

    def _owners(self, batch: Any) -> tuple[list[Owner], list[int]]:
        """Whose rows those of a batch are; places of requests that mix, too, but are in the midst of their prompts."""
        runtime, chunks = self._runtime, list[int]()
        position, prefill = host.next_positions_on_host(batch).tolist(), host.prefill_lengths(batch).tolist()
        identities, owners = host.request_ids(batch), list[Owner]()
        for place, slot in enumerate(host.slots_on_host(batch).tolist()):
            state = runtime.in_slot[slot]
            if state is None:
                continue
            if position[place] < prefill[place]:
                chunks.append(place)
            else:
                owners.append((place, identities[place], state, position[place] - runtime.prompt_length[slot]))
        return owners, chunks

    def _stored_in(self, batch: Any, chunks: list[int]) -> Tensor:
        """Slots int64 [B]. A chunk of a prompt is sampled, too, which means nothing: its row goes to the spare slot."""
        if not chunks:
            return host.slots(batch)
        slots = host.slots_on_host(batch).astype(np.int64)
        slots[chunks] = self._runtime.spare
        return self._runtime.slots.tables.upload(slots)
