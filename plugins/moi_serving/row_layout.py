"""What the device remembers of a request: one row per request slot, of a size that no text length changes.

A row of `mixtures`, int32, is what the sampler leaves for the next embedding:

    ids [S] | weights [S], float32 bits | position where it is due, -1: none | entropy, float32 bits

Dims: R request slots, S = K + 1, W = 2 S + 2, P parameters as in `moi.RowParams`. Slot 0 of the ids is the sampled
token. Rows are zeroed, then position -1: a slot that nothing was written to decodes plainly, as does padding (slot 0).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from moi import Mixture
from moi.rows import parameter_count

NOT_DUE = -1
NO_GATE = -1


class SlotSettings(NamedTuple):
    """What the tables of a slot are set to. parameters: the bits of float32, as many as are set."""

    policy: int = 0
    gate: int = NO_GATE
    reopens: int = NO_GATE
    resumes: int = 0
    parameters: tuple[int, ...] = ()

    def words(self, width: int) -> tuple[int, ...]:
        """As `Tables.configure` takes them, with `width` parameters."""
        *words, parameters = self
        return (*words, *parameters, *(0,) * (width - len(parameters)))


@dataclass(frozen=True)
class Tables:
    """What is due for each slot, and how it decodes.

    mixtures    int32 [R,W]
    parameters  float32 [R,P]
    policy      int32 [R], of the next token: code 0 is plain
    gate        int32 [R], the id of the token that ends mixing, or -1
    reopens     int32 [R], the id of the token that lets it begin again, or -1
    resumes     int32 [R], the policy that it begins again with
    """

    mixtures: Tensor
    parameters: Tensor
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
            torch.zeros(slots, parameter_count(), device=device),
            torch.zeros(slots, dtype=torch.int32, device=device),
            torch.full((slots,), NO_GATE, dtype=torch.int32, device=device),
            torch.full((slots,), NO_GATE, dtype=torch.int32, device=device),
            torch.zeros(slots, dtype=torch.int32, device=device),
        )

    def configure(self, slots: Tensor, settings: Tensor) -> None:
        """SlotSettings as words int32 [n,4+P] for these slots, which forget their mixtures."""
        self.forget(slots)
        for column, table in enumerate((self.policy, self.gate, self.reopens, self.resumes)):
            table.index_copy_(0, slots, settings[:, column])
        self.parameters.index_copy_(0, slots, settings[:, 4:].view(torch.float32))

    def forget(self, slots: Tensor) -> None:
        """No mixture is due for these slots. Their rows keep their ids, which are looked up all the same."""
        position_of(self.mixtures).index_fill_(0, slots, NOT_DUE)

    @property
    def bytes_per_slot(self) -> int:
        each = (self.mixtures, self.parameters, self.policy, self.gate, self.reopens, self.resumes)
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
