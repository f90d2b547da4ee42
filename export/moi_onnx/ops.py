"""The op as torch modules whose export is plain ONNX: the bodies of moi::MixInputs and moi::MixEmbed.

Dims: B rows, T positions, V vocabulary, K candidates, S = K + 1 slots, D embedding width.

The arithmetic is the reference's own (`moi.mixture`), so a new policy needs no line here. What differs:
candidates come from TopK, whose ties ONNX defines as (value desc, index asc), as the contract asks.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from moi import MoIConfig
from moi.mixture import Given, policy_weights, softmax

_BLOCK = 64
_FLOAT32_MAX = torch.finfo(torch.float32).max


class MixInputs(nn.Module):
    """`moi.mix` with K, entropy and prior of `config`; policies and their parameters come row by row.

    width  ids that are sorted, if more than K: with as many as the sampler sorts, a runtime finds the same node twice
           and runs it once
    """

    def __init__(self, config: MoIConfig, width: int = 0) -> None:
        super().__init__()
        self.config, self.width = config, max(width, config.top_k)

    def forward(
        self,
        logits: Tensor,
        token: Tensor,
        policy: Tensor,
        parameters: Tensor,
        temperature: Tensor,
        uniforms: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """logits [B,V] of any float type, token int64 [B]; the rest as `moi.RowParams`.

        Returns ids int32 [B,S], weights float32 [B,S], entropy float32 [B].
        """
        z = finite(logits)
        top, candidates = (each[:, : self.config.top_k] for each in torch.topk(z, self.width, dim=-1))
        tau = torch.ones_like(temperature)
        if self.config.prior == "sampling":
            tau = torch.where(temperature > 0, temperature, 1.0)
        peak = top[:, :1]
        empty = peak == -torch.inf
        peak = torch.where(empty, 0.0, peak)
        scaled = (top - peak) / tau[:, None]
        h = entropy(scaled if self.config.entropy == "support" else (z - peak) / tau[:, None])
        policy = torch.where(empty[:, 0], 0, policy)
        ids = torch.cat([token[:, None], candidates], 1).int()
        return ids, policy_weights(policy, parameters, Given(softmax(scaled), h[:, None], ids, uniforms)), h


class MixEmbed(nn.Module):
    """`moi.embed` of mixtures [B,T,S]."""

    def forward(self, ids: Tensor, weights: Tensor, table: Tensor) -> Tensor:
        """ids int32 [B,T,S], weights float32 [B,T,S], table [V,D] -> [B,T,D] in the table's type."""
        rows = nn.functional.embedding(ids, table).float()
        w = weights[..., None]
        return torch.where(w != 0, rows * w, 0.0).sum(2).to(table.dtype)


def finite(logits: Tensor) -> Tensor:
    """float32 logits without NaN or +inf, as the reference reads them.

    No clamp: ONNX's Clip without a minimum raises -inf to the lowest finite number.
    """
    z = logits.float()
    z = torch.where(torch.isnan(z), -torch.inf, z)
    return torch.where(z == torch.inf, _FLOAT32_MAX, z)


def entropy(z: Tensor) -> Tensor:
    """Normalised entropy [B] of softmax(z), for z [B,N] whose maximum is 0; a row of -inf alone gives 0.

    H = (ln Z - sum e^z z / Z) / ln N with Z = sum e^z: needs no logarithm per id, and the rounding of the
    sums is divided by ln N.
    """
    e = z.exp()
    total = row_sum(e)
    total = torch.where(total > 0, total, 1.0)
    moment = row_sum(torch.where(e > 0, e * z, 0.0))
    log_support = torch.log(torch.full_like(total, z.shape[-1])).clamp(min=1e-6)  # N = 1: 0 / 1e-6
    return ((torch.log(total) - moment / total) / log_support).clamp(0, 1)


def row_sum(x: Tensor) -> Tensor:
    """Sum of each row of x [B,N], in two levels: a runtime that adds up 262,144 numbers one by one in
    float32 is off by more than the contract allows."""
    padded = nn.functional.pad(x, (0, -x.shape[-1] % _BLOCK))
    return padded.reshape(x.shape[0], -1, _BLOCK).sum(-1).sum(-1)
