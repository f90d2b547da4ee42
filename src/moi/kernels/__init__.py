"""Implementations of the two functions of the method, one file each.

Every implementation is an `Implementation`; a new one is a file and a line in `IMPLEMENTATIONS`.
Parity tests and benchmarks iterate the registry.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from moi import philox
from moi.mixture import Mixture
from moi.registry import Registry
from moi.rows import RowParams


class Implementation(NamedTuple):
    """mix and embed on tensors that were checked before; signatures as in `moi.mixture`.

    mix          (logits, token, rows, top_k, entropy, prior) -> Mixture
    embed        (ids, weights, table, start, end, out) -> None, fills out [B,D]
    unavailable  (device) -> why it cannot run there and what to install, or None
    uniforms     as `moi.philox.uniforms`
    """

    mix: Callable[[Tensor, Tensor, RowParams, int, str, str], Mixture]
    embed: Callable[[Tensor, Tensor, Tensor, int, int, Tensor], None]
    unavailable: Callable[[torch.device], str | None]
    uniforms: Callable[[Tensor, Tensor, int], Tensor] = philox.uniforms


IMPLEMENTATIONS = Registry(
    "implementation",
    {
        "reference": "moi.kernels.reference:REFERENCE",
        "numba": "moi.kernels.numba_kernels:NUMBA",
        "triton": "moi.kernels.triton_kernels:TRITON",
        "flashinfer": "moi.kernels.flashinfer_topk:FLASHINFER",
    },
)


def load_implementation(name: str, device: torch.device) -> Implementation:
    """The named implementation; RuntimeError with the remedy if it cannot run on `device`."""
    implementation: Implementation = IMPLEMENTATIONS[name]
    reason = implementation.unavailable(device)
    if reason is not None:
        raise RuntimeError(f"implementation={name!r} cannot run on {device}: {reason}")
    return implementation
