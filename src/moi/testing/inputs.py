"""Arguments of an implementation, and values that the declarations of policies allow."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from moi.policies import BOUNDS, Parameter, load_policies
from moi.rows import RowParams, parameter_count


class Inputs(NamedTuple):
    """Arguments of an implementation's mix, one row per sequence."""

    logits: Tensor
    token: Tensor
    rows: RowParams

    def to(self, device: torch.device | str) -> Inputs:
        """On another device."""
        rows = [tensor.to(device) for tensor in self.rows if tensor is not None]
        return Inputs(self.logits.to(device), self.token.to(device), RowParams(*rows))

    def copy_(self, other: Inputs) -> None:
        """Take over its values in place, where a recorded graph reads them."""
        for mine, theirs in zip((*self[:2], *self.rows), (*other[:2], *other.rows), strict=True):
            if mine is not None and theirs is not None:
                mine.copy_(theirs)

    def select(self, rows: Tensor) -> Inputs:
        """These rows, by their places."""
        return Inputs(self.logits[rows], self.token[rows], self.rows.select(rows))

    def of_policy(self, code: int) -> Inputs:
        """With the same policy in every row, over the values of its parameters."""
        policy = torch.full_like(self.rows.policy, code)
        return self._replace(rows=self.rows._replace(policy=policy, parameters=parameters_of(policy)))


def parameters_of(policy: Tensor) -> Tensor:
    """float32 [B,P] for codes [B]: values that the declarations allow, others in each row."""
    values = torch.zeros(len(policy), parameter_count())
    for row, code in enumerate(policy.tolist()):
        for column, parameter in enumerate(load_policies()[code].parameters):
            allowed = probes(parameter)
            values[row, column] = allowed[(row + column) % len(allowed)]
    between = torch.tensor([[0.0, 1.0], [0.0, 1.0], [0.25, 1.0], [0.0, 0.75]])
    place = torch.arange(len(policy))
    values[:, -len(BOUNDS) :] = between[(place + place // 4) % 4]
    return values


def probes(parameter: Parameter) -> list[float]:
    """The default, the bounds and values between them, as far as they are allowed.

    None is the entropy, probability or mass of candidates that are equal, or certain, but for rounding.
    """
    low = parameter.low if math.isfinite(parameter.low) else min(parameter.default, parameter.high) - 8
    high = parameter.high if math.isfinite(parameter.high) else low + 8
    between = [low + (high - low) * share for share in (0.037, 0.463, 0.983)]
    if parameter.integer:
        between = [float(round(value)) for value in between]
    values = (
        [parameter.default, low, *between, parameter.high]
        if math.isinf(parameter.high)
        else [parameter.default, low, *between]
    )
    return [value for value in dict.fromkeys(values) if parameter.holds(value)]
