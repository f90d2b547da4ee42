"""What the device remembers of a request: one row per request slot, of a size that no text length changes.

Dims: R request slots, T mixtures of each, W words of a row as in `moi_serving.row_layout`, P parameters as in
`moi.RowParams`. A slot that nothing was written to decodes plainly, as does padding, whose slot is 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from moi.rows import parameter_count
from moi_serving.row_layout import NO_TOKEN, NOT_DUE, position_of, row_width


class SlotSettings(NamedTuple):
    """What the tables of a slot are set to, with as many parameters as are set."""

    policy: int = 0
    stop_mixing_token_id: int = NO_TOKEN
    resume_mixing_token_id: int = NO_TOKEN
    resume_policy: int = 0
    seed: int = 0
    parameters: Sequence[float] = ()

    def words(self) -> list[int]:
        """int32 [6+P], as `Tables.configure` takes them."""
        *integers, seed, parameters = self
        floats = np.zeros(parameter_count(), np.float32)
        floats[: len(parameters)] = parameters
        return [*integers, *np.array([seed], np.int64).view(np.int32).tolist(), *floats.view(np.int32).tolist()]


@dataclass(frozen=True)
class Tables:
    """What is due for each slot, and how it decodes.

    mixtures                 int32 [R*T,W], those of a slot one after the other
    parameters               float32 [R,P]
    policy                   int32 [R], of the next token: code 0 is plain
    stop_mixing_token_id     int32 [R], what follows that token is plain; or -1
    resume_mixing_token_id   int32 [R], what follows that token is mixed again; or -1
    resume_policy            int32 [R], the policy that it is mixed with again
    seed                     int64 [R], of the random numbers of policies that draw
    """

    mixtures: Tensor
    parameters: Tensor
    policy: Tensor
    stop_mixing_token_id: Tensor
    resume_mixing_token_id: Tensor
    resume_policy: Tensor
    seed: Tensor

    @classmethod
    def allocate(cls, slots: int, top_k: int, device: Any, depth: int = 1) -> Tables:
        """Of `slots` request slots, for `depth` mixtures of the token and `top_k` candidates."""
        mixtures = torch.zeros(slots * depth, row_width(top_k), dtype=torch.int32, device=device)
        position_of(mixtures).fill_(NOT_DUE)
        return cls(
            mixtures,
            torch.zeros(slots, parameter_count(), device=device),
            torch.zeros(slots, dtype=torch.int32, device=device),
            torch.full((slots,), NO_TOKEN, dtype=torch.int32, device=device),
            torch.full((slots,), NO_TOKEN, dtype=torch.int32, device=device),
            torch.zeros(slots, dtype=torch.int32, device=device),
            torch.zeros(slots, dtype=torch.int64, device=device),
        )

    def configure(self, slots: Tensor, settings: Tensor) -> None:
        """SlotSettings as words int32 [n,6+P] for these slots, which forget their mixtures."""
        self.forget(slots)
        integers = (self.policy, self.stop_mixing_token_id, self.resume_mixing_token_id, self.resume_policy)
        for column, table in enumerate(integers):
            table.index_copy_(0, slots, settings[:, column])
        seed, parameters = settings[:, len(integers) :].split((2, self.parameters.shape[1]), 1)
        self.seed.index_copy_(0, slots, seed.contiguous().view(torch.int64)[:, 0])
        self.parameters.index_copy_(0, slots, parameters.view(torch.float32))

    def upload(self, array: Any) -> Tensor:
        """A numpy array on the tables' device, without waiting for it."""
        device, found = self.mixtures.device, torch.from_numpy(np.ascontiguousarray(array))
        return found.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else found.to(device)

    def forget(self, slots: Tensor) -> None:
        """No mixture is due for these slots. Their rows keep their ids, which are looked up all the same."""
        position_of(self.mixtures).view(len(self.policy), -1).index_fill_(0, slots, NOT_DUE)
