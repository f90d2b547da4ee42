"""FlashInfer's deterministic top-K, torch for the rest: a fallback where Triton is not at hand, and a baseline.

Dims: B rows, k candidates. FlashInfer is imported on first use.
"""

from __future__ import annotations

import importlib.util

import torch
from torch import Tensor

from moi import mixture
from moi.kernels import Implementation
from moi.kernels.reference import REFERENCE
from moi.mixture import Mixture
from moi.rows import RowParams

_PREFER_SMALL = 1  # flashinfer.TopKTieBreak.SMALL: ties at the boundary go to the lower id


def mix(logits: Tensor, token: Tensor, rows: RowParams, top_k: int, entropy: str, prior: str) -> Mixture:
    """As `moi.mixture.mix`, with FlashInfer's selection."""
    if len(logits) == 0:
        return mixture.mix(logits, token, rows, top_k, entropy, prior)
    return mixture.mix(logits, token, rows, top_k, entropy, prior, select=_largest)


def _largest(z: Tensor, k: int) -> Tensor:
    """Ids int64 [B,k] of the k largest; sorted mode orders by (value desc, id asc) once -0.0 is 0.0."""
    import flashinfer

    found: tuple[Tensor, Tensor] = flashinfer.top_k(
        z.contiguous() + 0.0, k, sorted=True, deterministic=True, tie_break=_PREFER_SMALL
    )
    return found[1]


def unavailable(device: torch.device) -> str | None:
    """As `Implementation.unavailable`."""
    if device.type != "cuda":
        return "FlashInfer runs on NVIDIA GPUs only"
    if importlib.util.find_spec("flashinfer") is None:
        return "FlashInfer is not installed; pip install mixture-of-inputs[flashinfer]"
    return None


FLASHINFER = Implementation(mix, REFERENCE.embed, unavailable)
