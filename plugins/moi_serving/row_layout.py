"""One packed row: the mixture that a sampled token is fed as. This file alone knows which word holds what.

    ids [S] | weights [S], float32 bits | position where it is due, -1: none | entropy, float32 bits     all int32

Dims: S = K + 1 components of a mixture, W = 2 S + 2 words of a row. Component 0 is the sampled token, so the first word
is its id. The functions take rows [n,W], as tensors or as arrays of numpy, and return views of them.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from moi import Mixture

NOT_DUE = -1  # in the place of a position: the token is fed plainly
NO_TOKEN = -1  # in the place of a token's id: equal to none
TOKEN, POSITION, ENTROPY = 0, -2, -1  # words of a row, as the compiled loops index them

Rows = npt.NDArray[np.int32]
_Rows = TypeVar("_Rows", Tensor, Rows)


def row_width(top_k: int) -> int:
    """W of rows with the token and `top_k` candidates."""
    return 2 * (top_k + 1) + 2


def component_count(width: int) -> int:
    """S of rows of W words."""
    return width // 2 - 1


def pack(mixture: Mixture, position: Tensor) -> Tensor:
    """Rows int32 [B,W] of complete mixtures that are due at `position` [B]."""
    weights, entropy = mixture.weights.view(torch.int32), mixture.entropy.view(torch.int32)
    return torch.cat([mixture.ids, weights, position.int()[:, None], entropy[:, None]], 1)


def ids_of(rows: _Rows) -> _Rows:
    """int32 [n,S]"""
    return rows[:, : rows.shape[1] // 2 - 1]


def weights_of(rows: Any) -> Any:
    """float32 [n,S]"""
    half = rows.shape[1] // 2 - 1
    return rows[:, half : 2 * half].view(_float32(rows))


def position_of(rows: _Rows) -> _Rows:
    """int32 [n]"""
    return rows[:, POSITION]


def token_of(rows: _Rows) -> _Rows:
    """int32 [n]"""
    return rows[:, TOKEN]


def entropy_of(rows: Any) -> Any:
    """float32 [n]"""
    return rows[:, ENTROPY:].view(_float32(rows))[:, 0]


def is_due(rows: Any) -> Any:
    """Whether a row's mixture is what is fed back, bool [n]."""
    return position_of(rows) != NOT_DUE


def interventions(rows: Rows) -> npt.NDArray[np.float32]:
    """1 - the weight of the token, float32 [n]; 0 where it is fed plainly."""
    ids = ids_of(rows)
    others = (ids != ids[:, :1]) & is_due(rows)[:, None]
    total: npt.NDArray[np.float32] = np.where(others, weights_of(rows), np.float32(0)).sum(1)
    return total


def _float32(rows: Any) -> Any:
    return torch.float32 if isinstance(rows, Tensor) else np.float32
