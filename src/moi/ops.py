"""The torch.library ops moi::mix and moi::embed: one node each under torch.compile and torch.export.

Their arguments are tensors and scalars only; `moi.mix` and `moi.embed` are the friendly front.
Shapes: logits [B,V]; token, policy, temperature [B]; parameters [B,P]; uniforms [B,8+K]; ids, weights [B,S];
table [rows,D].
"""

from __future__ import annotations

import functools
import logging

import torch
from torch import Tensor

from moi.kernels import IMPLEMENTATIONS, Implementation, load_implementation
from moi.mixture import Mixture
from moi.rows import RowParams

_LIBRARY = torch.library.Library("moi", "DEF")
_LIBRARY.define(
    "mix(Tensor logits, Tensor token, Tensor policy, Tensor parameters, Tensor temperature, Tensor? uniforms, "
    "int top_k, str entropy, str prior, str implementation) -> (Tensor ids, Tensor weights, Tensor entropy)"
)
_LIBRARY.define("embed(Tensor ids, Tensor weights, Tensor table, int start, int end, str implementation) -> Tensor")
_LIBRARY.define(
    "embed_out(Tensor ids, Tensor weights, Tensor table, int start, int end, str implementation, Tensor(a!) out) -> ()"
)


_FUSED = {"cuda": "triton", "cpu": "numba"}


@functools.cache
def resolve(name: str, device: torch.device) -> Implementation:
    """The implementation to run on `device`; "auto" takes the fused one of its kind and logs its choice."""
    if name != "auto":
        return load_implementation(name, device)
    fused = _FUSED.get(device.type)
    reason = IMPLEMENTATIONS[fused].unavailable(device) if fused else None
    choice = fused if fused and reason is None else "reference"
    note = f" ({fused}: {reason})" if reason else ""
    logging.getLogger("moi").info("implementation=auto on %s: %s%s", device, choice, note)
    return load_implementation(choice, device)


def _mix(
    logits: Tensor,
    token: Tensor,
    policy: Tensor,
    parameters: Tensor,
    temperature: Tensor,
    uniforms: Tensor | None,
    top_k: int,
    entropy: str,
    prior: str,
    implementation: str,
) -> Mixture:
    run = resolve(implementation, logits.device).mix
    return run(logits, token, RowParams(policy, parameters, temperature, uniforms), top_k, entropy, prior)


def _mix_fake(
    logits: Tensor,
    token: Tensor,
    policy: Tensor,
    parameters: Tensor,
    temperature: Tensor,
    uniforms: Tensor | None,
    top_k: int,
    entropy: str,
    prior: str,
    implementation: str,
) -> Mixture:
    rows = logits.shape[0]
    return Mixture(
        logits.new_empty(rows, top_k + 1, dtype=torch.int32),
        logits.new_empty(rows, top_k + 1, dtype=torch.float32),
        logits.new_empty(rows, dtype=torch.float32),
    )


def embed(ids: Tensor, weights: Tensor, table: Tensor, start: int, end: int, implementation: str) -> Tensor:
    """As `moi.embed`, without its checks: inputs [B,D]."""
    out = _embed_fake(ids, weights, table, start, end, implementation)
    resolve(implementation, table.device).embed(ids, weights, table, start, end, out)
    return out


def _embed_fake(ids: Tensor, weights: Tensor, table: Tensor, start: int, end: int, implementation: str) -> Tensor:
    return table.new_empty(ids.shape[0], table.shape[1])


def _embed_out(
    ids: Tensor, weights: Tensor, table: Tensor, start: int, end: int, implementation: str, out: Tensor
) -> None:
    resolve(implementation, table.device).embed(ids, weights, table, start, end, out)


def _embed_out_fake(
    ids: Tensor, weights: Tensor, table: Tensor, start: int, end: int, implementation: str, out: Tensor
) -> None:
    return None


for _name, _run, _fake in (
    ("mix", _mix, _mix_fake),
    ("embed", embed, _embed_fake),
    ("embed_out", _embed_out, _embed_out_fake),
):
    _LIBRARY.impl(_name, _run, "CompositeExplicitAutograd")
    torch.library.register_fake(f"moi::{_name}", _fake, lib=_LIBRARY)
