"""The fused Triton implementation: `scan` and `select` make a mixture, `gather_mix` embeds it. Three launches.

Nothing here waits for the device or looks at a value, and scratch comes from torch's caching allocator in the order
of the stream: safe on any stream and inside a CUDA graph. Triton is imported on first use.
"""

from __future__ import annotations

import functools
import importlib.util
import math
from collections.abc import Callable
from types import FunctionType
from typing import Any, NamedTuple

import torch
from torch import Tensor

from moi.kernels import Implementation
from moi.mixture import Mixture
from moi.policies import Policy, load_policies
from moi.policies.arithmetic import rebound
from moi.policies.declaration import ARGUMENTS, SHARED_UNIFORMS
from moi.rows import RowParams, parameter_count

GROUP = 64  # consecutive ids that share a maximum
GROUPS = 64  # groups read by one program of `scan`: 16 KiB of float32
BINS = 128  # parts of the tournament that shortens lists; at least the largest K
SCAN_WARPS = 4
EMBED_WARPS = 4
EMBED_WIDTH = 128  # columns of the table summed by one program of `gather_mix`
EMBED_SLOTS = 32  # rows of the table it keeps in flight

_INSTALL = "pip install mixture-of-inputs[triton]"


class Kernels(NamedTuple):
    """The compiled-on-use kernels."""

    scan: Any
    select: Any
    gather_mix: Any


@functools.cache
def kernels() -> Kernels:
    """Imported once, which needs Triton."""
    from moi.kernels.triton_embed import gather_mix
    from moi.kernels.triton_scan import scan
    from moi.kernels.triton_select import select

    return Kernels(scan, select, gather_mix)


class Rules(NamedTuple):
    """The policies as `select` takes them, in the order of their codes.

    functions   of their weights
    places      for each, what its function asks for: a place in ARGUMENTS, or behind them in the row of parameters
    normalised  for each, whether its weights are shares yet
    key         of their source
    """

    functions: tuple[Any, ...]
    places: tuple[tuple[int, ...], ...]
    normalised: tuple[bool, ...]
    key: str

    def ask_for(self, argument: str) -> bool:
        """Whether some policy asks for this one of ARGUMENTS."""
        return any(ARGUMENTS.index(argument) in places for places in self.places)


@functools.cache
def rules(draws: bool) -> Rules:
    """With the policies that draw as they are, or plain: what draws nothing carries no code for it."""
    import triton
    from triton.runtime.jit import JITFunction

    from moi.kernels import triton_select

    plain, *_ = load_policies()
    policies = [plain if policy.draws and not draws else policy for policy in load_policies()]
    functions: tuple[Any, ...] = tuple(_compilable(policy.weights, triton_select) for policy in policies)
    key = "interpreted"
    if isinstance(triton_select.select, JITFunction):
        functions = tuple(triton.jit(function) for function in functions)
        key = " ".join(function.cache_key for function in functions)
    normalised = tuple(policy.normalised for policy in policies)
    return Rules(functions, tuple(_places(policy) for policy in policies), normalised, key)


def _places(policy: Policy) -> tuple[int, ...]:
    everything = (*ARGUMENTS, *policy.names)
    return tuple(everything.index(name) for name in policy.arguments)


def _compilable(rule: Callable[..., Any], calls: Any) -> FunctionType:
    """A policy's function as Triton accepts it: it looks up the annotations, `Any`, among its own kind of globals."""
    import triton.language as tl

    return rebound(rule, Any=tl.constexpr(None), exp=calls.exp, log=calls.log)


class Plan(NamedTuple):
    """How one (V, K) is cut up: sizes that the kernels are compiled for. `_PAD` sizes are powers of two."""

    groups: int
    tiles: int
    groups_pad: int
    tiles_pad: int
    top_k_pad: int
    short: int
    warps: int


@functools.cache
def plan(vocab: int, top_k: int) -> Plan:
    """For a vocabulary of V ids and K candidates."""
    groups = -(-vocab // GROUP)
    tiles = -(-groups // GROUPS)
    groups_pad = max(_power(groups), BINS)
    # Half as many places again as K hold the survivors of a tournament of BINS parts, but for contrived rows.
    short = max(_power(-(-3 * top_k // 2)), 16)
    warps = 4 if max(groups_pad, short * GROUP) <= 1024 else 8
    return Plan(groups, tiles, groups_pad, _power(tiles), max(_power(top_k), 16), short, warps)


def _power(n: int) -> int:
    return int(1 << (n - 1).bit_length())


def mix(logits: Tensor, token: Tensor, rows: RowParams, top_k: int, entropy: str, prior: str) -> Mixture:
    """As `moi.mixture.mix`."""
    count, vocab = logits.shape
    ids = logits.new_empty((count, top_k + 1), dtype=torch.int32)
    weights = logits.new_empty((count, top_k + 1), dtype=torch.float32)
    h = logits.new_empty((count,), dtype=torch.float32)
    if count == 0:
        return Mixture(ids, weights, h)
    over_vocab = entropy == "vocab"
    cut = plan(vocab, top_k)
    maxima = logits.new_empty((count, cut.groups), dtype=torch.float32)
    partials = logits.new_empty((count, cut.tiles, 3), dtype=torch.float32) if over_vocab else maxima
    lists = logits.new_empty((count, 2 * (cut.short + BINS)), dtype=torch.int64)
    token, policy, parameters, temperature = (each.contiguous() for each in (token, *rows[:3]))
    draws = rows.uniforms is not None
    uniforms = temperature if rows.uniforms is None else rows.uniforms.contiguous()
    shape = (vocab, logits.stride(0), logits.stride(1), cut.groups, cut.tiles)
    variant = {"GROUP": GROUP, "VOCAB_ENTROPY": over_vocab, "SAMPLING": prior == "sampling"}
    use = kernels()
    with torch.cuda.device_of(logits):
        use.scan[count, cut.tiles](
            *(logits, temperature, maxima, partials), *shape, GROUPS=GROUPS, **variant, num_warps=SCAN_WARPS
        )
        use.select[(count,)](
            *(logits, token, policy, parameters, temperature, uniforms, maxima, partials, lists, ids, weights, h),
            *shape,
            _inverse_log(vocab if over_vocab else top_k),
            **select_constants(cut, top_k, draws),
            **variant,
            num_warps=cut.warps,
        )
    return Mixture(ids, weights, h)


def select_constants(cut: Plan, top_k: int, draws: bool) -> dict[str, Any]:
    """What `select` is compiled for, besides the variant."""
    use = rules(draws)
    return {
        "K": top_k,
        "K_PAD": cut.top_k_pad,
        "GROUPS_PAD": cut.groups_pad,
        "TILES_PAD": cut.tiles_pad,
        "BINS": BINS,
        "SHORT": cut.short,
        "P": parameter_count(),
        "U": len(SHARED_UNIFORMS) if draws else 0,
        "BEFORE": use.ask_for("before"),
        "RULES": use.functions,
        "PLACES": use.places,
        "NORMALISED": use.normalised,
        "RULES_KEY": use.key,
    }


def embed_constants(slots: int) -> dict[str, int]:
    """What `gather_mix` is compiled for."""
    return {"S": slots, "SLOTS": EMBED_SLOTS, "WIDTH": EMBED_WIDTH}


def _inverse_log(support: int) -> float:
    return 0.0 if support == 1 else 1.0 / math.log(support)


def embed(ids: Tensor, weights: Tensor, table: Tensor, start: int, end: int, out: Tensor) -> None:
    """As `moi.mixture.embed`, into out [B,D]."""
    rows, slots = ids.shape
    width = table.shape[1]
    if rows == 0 or width == 0:
        return
    grid = (rows, -(-width // EMBED_WIDTH))
    # Rows may lie apart, as in a host's packed table; a copy would be a launch.
    ids, weights = (each if each.stride(1) == 1 else each.contiguous() for each in (ids, weights))
    strides = (ids.stride(0), weights.stride(0), *table.stride(), *out.stride())
    with torch.cuda.device_of(table):
        kernels().gather_mix[grid](
            *(ids, weights, table, out, start, end, width, *strides),
            **embed_constants(slots),
            num_warps=EMBED_WARPS,
        )


def unavailable(device: torch.device) -> str | None:
    """As `Implementation.unavailable`."""
    if importlib.util.find_spec("triton") is None:
        return f"Triton is not installed; {_INSTALL}"
    if device.type == "cuda" or (device.type == "cpu" and _interpreted()):
        return None
    return (
        "Triton kernels run on a GPU, or on the CPU under Triton's interpreter "
        f"(set TRITON_INTERPRET=1 before Triton is imported; {_INSTALL})"
    )


def _interpreted() -> bool:
    """Whether the kernels and the parts of Triton they call were all decorated while TRITON_INTERPRET=1 was set."""
    import triton.language as tl
    from triton.runtime.jit import JITFunction

    return not isinstance(tl.max, JITFunction) and not isinstance(kernels().scan, JITFunction)


def uniforms(seed: Tensor, position: Tensor, count: int) -> Tensor:
    """As `moi.philox.uniforms`, in one launch."""
    from moi.kernels import triton_philox

    return triton_philox.uniforms(seed, position, count)


TRITON = Implementation(mix, embed, unavailable, uniforms)
