"""The op on a CPU, compiled by Numba: one pass over the logits where the reference makes many.

Rows run one after the other on the calling thread. Compiled when first used, in some seconds, and kept on disk for the
next process by `numba_cache`.
"""

from __future__ import annotations

import functools
import importlib.util
import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from moi import mixture
from moi.kernels import Implementation
from moi.mixture import Mixture
from moi.policies import load_policies
from moi.rows import RowParams

NO_UNIFORMS = np.zeros((1, 0), np.float32)  # one row for all: policies that draw find nothing, and are plain


@functools.cache
def compiled_mix() -> Any:
    """`mix` of `numba_loops` with the policies there are; other compiled functions may call it."""
    from moi.kernels import numba_loops

    return numba_loops.mixer(load_policies())


def mix(logits: Tensor, token: Tensor, rows: RowParams, top_k: int, entropy: str, prior: str) -> Mixture:
    """As `moi.mixture.mix`."""
    count = len(logits)
    ids = logits.new_empty((count, top_k + 1), dtype=torch.int32)
    weights = logits.new_empty((count, top_k + 1), dtype=torch.float32)
    h = logits.new_empty((count,), dtype=torch.float32)
    compiled_mix()(
        array_of(logits.float()).view("int32"),
        *(array_of(token), array_of(rows.policy), array_of(rows.parameters), array_of(rows.temperature)),
        NO_UNIFORMS if rows.uniforms is None else array_of(rows.uniforms),
        *variant(logits.shape[1], top_k, entropy, prior),
        *(ids.numpy(), weights.numpy(), h.numpy()),
    )
    return Mixture(ids, weights, h)


@functools.cache
def variant(vocab: int, top_k: int, entropy: str, prior: str) -> tuple[bool, bool, float]:
    """Settings as the loops take them: whether H is over the vocabulary, p of the sampling logits, and 1 / ln of H."""
    support = vocab if entropy == "vocab" else top_k
    return entropy == "vocab", prior == "sampling", 0.0 if support == 1 else 1 / math.log(support)


def embed(ids: Tensor, weights: Tensor, table: Tensor, start: int, end: int, out: Tensor) -> None:
    """As `moi.mixture.embed`, into out [B,D]; tables of other types than float32 take the reference's way."""
    if table.dtype != torch.float32 or not table.is_contiguous():
        out.copy_(mixture.embed(ids, weights, table, start, end))
        return
    from moi.kernels import numba_loops

    x = out.detach() if out.is_contiguous() else torch.empty_like(out, memory_format=torch.contiguous_format)
    numba_loops.embed(ids.numpy(), weights.detach().numpy(), array_of(table), start, end, x.numpy())
    if not out.is_contiguous():
        out.copy_(x)


def array_of(tensor: Tensor) -> Any:
    """The memory of a tensor on the CPU as an array in one piece, copied only if it is not."""
    if tensor.requires_grad or not tensor.is_contiguous():
        tensor = tensor.detach().contiguous()
    return tensor.numpy()


def unavailable(device: torch.device) -> str | None:
    """As `Implementation.unavailable`."""
    if device.type != "cpu":
        return "Numba's loops run on a CPU"
    if importlib.util.find_spec("numba") is None:
        return "Numba is not installed; pip install mixture-of-inputs[cpu]"
    return None


def uniforms(seed: Tensor, position: Tensor, count: int) -> Tensor:
    """As `moi.philox.uniforms`."""
    from moi.kernels import numba_philox

    return numba_philox.uniforms(seed, position, count)


NUMBA = Implementation(mix, embed, unavailable, uniforms)
