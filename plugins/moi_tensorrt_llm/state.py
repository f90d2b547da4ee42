"""What a worker process knows of its requests: their slots on the host, their settings and mixtures on the device.

Dims: R rows of a step (contexts, then generations, then padding), V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from moi import MoIConfig
from moi.rows import encode, policy_layout
from moi_serving.slots.tables import SlotSettings, Tables
from moi_tensorrt_llm.compatibility import refuse_step
from moi_tensorrt_llm.deferred_slots import DeferredSlots
from moi_tensorrt_llm.requests import PLAIN, Requests, Row
from moi_tensorrt_llm.server_settings import REPLAY_VARIABLES, ServerSettings

_REMEDY = f"set scheduler_config.capacity_scheduler_policy=GUARANTEED_NO_EVICT, or {REPLAY_VARIABLES[0]}"
NEVER = 2**31 - 1  # in the place of a position: nothing was generated yet


@dataclass(frozen=True)
class Device:
    """What a graph reads: made once, never replaced.

    slots        with the tables of all of them
    temperature  float32 by slot
    rows         int64 [2,max rows]: slots and first positions of the rows of a step
    """

    slots: DeferredSlots
    temperature: Tensor
    rows: Tensor


class State:
    """One of a worker process. Nothing is allocated before the first AttentionMetadata is made.

    settings    of the server
    mixing      whether some row of this step has a slot
    preempted   whether some context of this step is a request that had generated before
    copies      how often the rows of a step were sent to the device
    """

    def __init__(self, settings: ServerSettings) -> None:
        self.settings = settings
        self.mixing = self.preempted = False
        self.copies = 0
        self._device: Device | None = None
        self._requests = Requests(0)
        self._dummies = 0
        self._batch: list[int] = []
        self._known = False  # whether the device has the rows of `_batch`

    @property
    def device(self) -> Device:
        """RuntimeError before there is one."""
        if self._device is None:
            raise RuntimeError("no model with mixtures runs in this process: start with --custom_module_dirs")
        return self._device

    def allocate(self, max_rows: int, device: torch.device) -> None:
        """For steps of up to `max_rows` rows, at the first call: as large as the host ever asks for."""
        if self._device is not None:
            if max_rows > self._device.rows.shape[1]:
                raise ValueError(f"max_num_requests={max_rows} after {self._device.rows.shape[1]}; MoI needs it fixed")
            return
        slots, moi = 2 * max_rows, self.settings.moi
        tables = Tables.allocate(slots + 1, moi.top_k, device, max(self.settings.replay_tokens, 1))
        rows = torch.zeros(2, max_rows, dtype=torch.int64, device=device)
        self._device = Device(DeferredSlots(tables, moi), torch.ones(slots + 1, device=device), rows)
        self._requests = Requests(slots)
        self._dummies = max_rows  # requests of the host's own have ids below, or from 2^63 on

    def begin(self, metadata: Any) -> None:
        """The rows of the step that `metadata` was prepared for. Called outside of graphs, before each step.

        A steady batch of generations costs one comparison; a changed one is sent to the device in one copy.
        RuntimeError for a request whose mixtures are lost.
        """
        requests, contexts = list(metadata.request_ids or ()), metadata.num_contexts
        if self._known and not contexts and requests == self._batch:
            return
        self._batch, self._known, self.preempted = requests, not contexts, False
        rows = [self._row(request, i, contexts, metadata) for i, request in enumerate(requests)]
        self.mixing = any(slot != PLAIN for slot, _ in rows)
        if self.mixing:
            refuse_step(metadata)
        sent = self.device.slots.tables.upload(np.array(rows, np.int64).reshape(-1, 2).T)
        self.device.rows[:, : len(rows)].copy_(sent, non_blocking=True)
        self.copies += 1

    def _row(self, request: int, index: int, contexts: int, metadata: Any) -> tuple[int, int]:
        """Slot and first position."""
        row = None if self._is_dummy(request) else self._requests.get(request)
        if row is None and self._mixes_by_default(request):
            row = self._configure(request, self.settings.moi)
        if row is None:
            return PLAIN, NEVER
        if index < contexts:
            cached = metadata.kv_cache_params.num_cached_tokens_per_seq[index]
            self._prefill(request, row, cached, cached + int(metadata.seq_lens[index]))
        elif row.first is None:
            row.first = int(metadata.prompt_lens[index])
        return row.slot, NEVER if row.first is None else row.first

    def _prefill(self, request: int, row: Row, start: int, end: int) -> None:
        """Tokens start..end-1 of a context. RuntimeError if mixtures have to be fed again that were not kept."""
        kept, restarted = self.settings.replay_tokens, start < row.end
        row.end = end
        if row.first is None and restarted:  # its prompt, or that and a token: nothing tells
            raise RuntimeError(f"request {request} was preempted before its second token; {_REMEDY}")
        if row.first is None or end <= row.first:
            return
        generated = end + 1 - row.first  # a last token may follow by itself
        if generated >= kept:
            raise RuntimeError(
                f"request {request} was preempted after {generated} tokens and {kept} mixtures are kept; {_REMEDY}"
            )
        self.preempted = True

    def register(
        self, request: int, config: MoIConfig, temperature: float, seed: int, logits: Tensor, position: int
    ) -> None:
        """A request with settings of its own, and its first mixture: of logits [1,V], for the token at `position`."""
        self.settings.check(config)
        if self._is_dummy(request):
            raise RuntimeError(f"request {request} has the id of one of TensorRT-LLM's own")
        row, slots = self._configure(request, config, temperature, seed), self.device.slots
        if row is not None:
            row.first = position
            slot, due = (torch.full((1,), value, device=logits.device) for value in (row.slot, position))
            heat = torch.full((1,), temperature, device=logits.device)
            slots.store(slot, slots.compute(slot, logits.float(), heat, due), due)

    def _configure(self, request: int, config: MoIConfig, temperature: float = 1.0, seed: int = 0) -> Row | None:
        """The request's row with these settings; None of one that is to decode plainly and has no row."""
        device, row = self.device, self._requests.get(request)
        tables = device.slots.tables
        if row is None:
            if config.policy == "token":
                return None
            row = self._requests.add(request, self._batch)
        self._known = False
        codes, values = encode([config], policy_layout())
        words = SlotSettings(codes[0], seed=seed, parameters=values[0]).words()
        slot = tables.upload(np.array([row.slot]))
        tables.configure(slot, tables.upload(np.array([words], np.int32)))
        device.temperature.index_copy_(0, slot, tables.upload(np.array([temperature], np.float32)))
        return row

    def _mixes_by_default(self, request: int) -> bool:
        return self.settings.moi.policy != "token" and not self._is_dummy(request)

    def _is_dummy(self, request: int) -> bool:
        return not self._dummies <= request < 2**63


def tokens_of(rows: Tensor, lengths: Sequence[int]) -> Tensor:
    """Rows [2,C] of contexts for each of their tokens, [2,N]."""
    counts = torch.tensor(lengths, device=rows.device)
    return rows.repeat_interleave(counts, 1, output_size=sum(lengths))
