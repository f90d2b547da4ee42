"""What the device remembers of a request: one row per request slot, of a size that no text length changes.

A row of `mixtures`, int32, is what the sampler leaves for the next embedding:

    ids [S] | weights [S], float32 bits | position where it is due, -1: none | entropy, float32 bits

Dims: R request slots, S = K + 1, W = 2 S + 2. Slot 0 of the ids is the sampled token. Rows are zeroed,
then position -1: a slot that nothing was written to decodes plainly, as do SGLang's padding rows (slot 0).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from moi import Mixture

NOT_DUE = -1
NO_GATE = -1


class SlotSettings(NamedTuple):
    """What the tables of a slot are set to. beta: the bits of a float32."""

    policy: int = 0
    beta: int = 0
    gate: int = NO_GATE
    reopens: int = NO_GATE
    resumes: int = 0


@dataclass(frozen=True)
class Tables:
    """What is due for each slot, and how it decodes.

    mixtures  int32 [R,W]
    beta      float32 [R]
    policy    int32 [R], of the next token: code 0 is plain
    gate      int32 [R], the id of the token that ends mixing, or -1
    reopens   int32 [R], the id of the token that lets it begin again, or -1
    resumes   int32 [R], the policy that it begins again with
    """

    mixtures: Tensor
    beta: Tensor
    policy: Tensor
    gate: Tensor
    reopens: Tensor
    resumes: Tensor

    @classmethod
    def allocate(cls, slots: int, top_k: int, device: Any) -> Tables:
        mixtures = torch.zeros(slots, 2 * (top_k + 1) + 2, dtype=torch.int32, device=device)
        position_of(mixtures).fill_(NOT_DUE)
        return cls(
            mixtures,
            torch.zeros(slots, device=device),
            torch.zeros(slots, dtype=torch.int32, device=device),
            torch.full((slots,), NO_GATE, dtype=torch.int32, device=device),
            torch.full((slots,), NO_GATE, dtype=torch.int32, device=device),
            torch.zeros(slots, dtype=torch.int32, device=device),
        )

    def configure(self, slots: Tensor, settings: Tensor) -> None:
        """SlotSettings int32 [n,5] for these slots, which forget their mixtures."""
        self.forget(slots)
        self.policy.index_copy_(0, slots, settings[:, 0])
        self.beta.index_copy_(0, slots, settings[:, 1].view(torch.float32))
        self.gate.index_copy_(0, slots, settings[:, 2])
        self.reopens.index_copy_(0, slots, settings[:, 3])
        self.resumes.index_copy_(0, slots, settings[:, 4])

    def forget(self, slots: Tensor) -> None:
        """No mixture is due for these slots. Their rows keep their ids, which are looked up all the same."""
        position_of(self.mixtures).index_fill_(0, slots, NOT_DUE)

    @property
    def bytes_per_slot(self) -> int:
        each = (self.mixtures, self.beta, self.policy, self.gate, self.reopens, self.resumes)
        return sum(table.stride(0) * table.element_size() for table in each)


def pack(mixture: Mixture, token: Tensor, position: Tensor) -> Tensor:
    """Rows int32 [B,W] of a mixture, with the token that was sampled since."""
    rows = torch.cat(
        [
            mixture.ids,
            mixture.weights.view(torch.int32),
            position.int()[:, None],
            mixture.entropy.view(torch.int32)[:, None],
        ],
        1,
    )
    rows[:, 0] = token
    return rows


def ids_of(rows: Tensor) -> Tensor:
    return rows[:, : rows.shape[1] // 2 - 1]


def weights_of(rows: Tensor) -> Tensor:
    half = rows.shape[1] // 2 - 1
    return rows[:, half : 2 * half].view(torch.float32)


def position_of(rows: Tensor) -> Tensor:
    return rows[:, -2]
