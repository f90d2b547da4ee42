"""Loops over one row after the other that Numba compiles. Imported on first use: importing it needs Numba.

A logit travels as an integer key that sorts like it: NaN and -inf at the bottom, +inf at the largest float32, -0.0
equal to 0.0. Reading ids upwards and replacing only where a key is larger gives the one order: logit desc, id asc.
Dims: B rows, V vocabulary, K candidates, S = K + 1 slots, D embedding width.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from moi.kernels.numba_cache import compiled, kept
from moi.policies import Policy
from moi.policies.arithmetic import rebound
from moi.policies.declaration import ARGUMENTS, SHARED_UNIFORMS

GROUP = 256  # ids whose largest key is compared with the K-th before any of them is looked at
_SIGN = np.int32(31)
_MAGNITUDE = np.int32(0x7FFFFFFF)
_LOWEST = np.int32(-(2**31))  # below every key; as bits, -0.0
_INF_BITS = np.int32(0x7F800000)
_MAX_KEY = np.int32(0x7F7FFFFF)  # the largest float32
_MIN_KEY = np.int32(-0x7F800001)  # -inf

_TINY = np.float32(-87)  # e^-87 is the least that float32 holds in full
_LOG2_E = np.float32(1.4426950408889634)
_LN2, _LN2_REST = np.float32(0.693359375), np.float32(-2.12194440054690583e-4)  # the first times n is exact
_SIXTH = tuple(np.float32(1 / math.factorial(n)) for n in range(6, -1, -1))

# Sums in any order, which vectors need.
reordered = functools.partial(compiled, fastmath={"reassoc"})


@compiled
def flipped(bits: Any) -> Any:
    """Bits of a float32 that sort like it as integers; applied again, the bits. Numba widens what is not cast."""
    return np.int32(bits ^ np.int32(np.int32(bits >> _SIGN) & _MAGNITUDE))


@compiled
def key_of(bits: Any) -> Any:
    """The key of a float32 by its bits."""
    key = flipped(bits)
    if bits == _LOWEST:
        key = np.int32(0)
    if key > _INF_BITS or key < _MIN_KEY:  # NaN of either sign
        key = _MIN_KEY
    return min(key, _MAX_KEY)


@compiled
def largest_key(bits: Any) -> Any:
    """Over `range(len(...))` alone does the compiler use vectors, here and in the loops below."""
    best = _LOWEST
    for i in range(len(bits)):
        best = max(best, key_of(bits[i]))
    return best


@compiled
def select(bits: Any, ids: Any, keys: Any) -> None:
    """The K largest of one row, bits [V], into ids and keys [K]."""
    last = len(ids) - 1
    keys[:] = _LOWEST
    for start in range(0, len(bits), GROUP):
        group = bits[start : start + GROUP]
        if largest_key(group) <= keys[last]:
            continue
        for i in range(len(group)):
            key = key_of(group[i])
            if key > keys[last]:
                at = last
                while at > 0 and keys[at - 1] < key:
                    keys[at], ids[at] = keys[at - 1], ids[at - 1]
                    at -= 1
                keys[at], ids[at] = key, start + i


@reordered
def vocabulary_nats(logits: Any, peak: Any, tau: Any) -> Any:
    """Entropy of softmax over one row [V], in nats: ln Z - S / Z with Z = sum e^x and S = sum x e^x.

    e^x = 2^n e^r, |r| <= ln(2) / 2, by the series to r^6: as exact as float32, and in vectors, unlike `math.exp`.
    """
    xs, series, power = np.empty(GROUP, np.float32), np.empty(GROUP, np.float32), np.empty(GROUP, np.int32)
    scale = power.view(np.float32)
    total, moment = 0.0, 0.0
    for start in range(0, len(logits), GROUP):
        group = logits[start : start + GROUP]
        for i in range(len(group)):
            x = (group[i] - peak) / tau
            x = x if x > _TINY else _TINY  # NaN and -inf, too
            x = x if x < 0 else np.float32(0)  # +inf counts as the largest float32, which is the peak
            n = np.rint(x * _LOG2_E)
            r = (x - n * _LN2) - n * _LN2_REST
            terms = _SIXTH[0]
            for each in _SIXTH[1:]:
                terms = terms * r + each
            xs[i], series[i], power[i] = x, terms, (np.int32(n) + 127) << 23
        z, s = np.float32(0), np.float32(0)
        for i in range(len(group)):
            e = series[i] * scale[i]
            z += e
            s += e * xs[i]
        total += z
        moment += s
    return math.log(total) - moment / total


@compiled
def candidates_nats(z: Any, tau: Any, p: Any) -> Any:
    """softmax of the candidates z [K] into p [K]; its entropy in nats."""
    total = 0.0
    for i in range(len(z)):
        p[i] = math.exp((z[i] - z[0]) / tau)
        total += p[i]
    nats = 0.0
    for i in range(len(z)):
        p[i] = p[i] / total
        if p[i] > 0:
            nats -= p[i] * math.log(p[i])
    return nats


def mixer(policies: tuple[Policy, ...]) -> Any:
    """The compiled function that fills a Mixture, with the policies by their codes; code 0 is plain."""
    weigh = _by_code(policies)

    @kept
    def mix(
        bits: Any,
        token: Any,
        policy: Any,
        parameters: Any,
        temperature: Any,
        uniforms: Any,
        over_vocab: bool,
        sampling: bool,
        inverse_log: Any,
        ids: Any,
        weights: Any,
        entropy: Any,
    ) -> None:
        z = np.empty(ids.shape[1] - 1, np.float32)
        keys, p = z.view(np.int32), np.empty_like(z)
        for b in range(len(bits)):
            ids[b, 0] = token[b]
            select(bits[b], ids[b, 1:], keys)
            if keys[0] == _MIN_KEY:  # no finite logit: plain
                weights[b], weights[b, 0], entropy[b] = 0, 1, 0
                continue
            for i in range(len(keys)):
                keys[i] = flipped(keys[i])  # bits again, so z holds the logits
            tau = temperature[b] if sampling and temperature[b] > 0 else np.float32(1)
            nats = candidates_nats(z, tau, p)
            if over_vocab:
                nats = vocabulary_nats(bits[b].view(np.float32), z[0], tau)
            h = np.float32(min(max(nats * inverse_log, 0.0), 1.0))
            entropy[b] = h
            code = np.int32(0) if h < parameters[b, -2] or h > parameters[b, -1] else np.int32(policy[b])
            weigh(code, p, h, parameters[b], uniforms[min(b, len(uniforms) - 1)], ids[b], weights[b])

    return mix


def _by_code(policies: tuple[Policy, ...]) -> Any:
    """A compiled function that fills weights [S] of a row by the policy of its code; unknown codes are plain.

    So are policies that draw where there are no uniforms. One function for all: each more takes its time to compile.
    """
    rule, count, shared = _rule(policies), len(policies), len(SHARED_UNIFORMS)
    draws = np.array([policy.draws for policy in policies])
    shares = np.array([policy.normalised for policy in policies])

    @compiled
    def weigh(code: Any, p: Any, h: Any, parameters: Any, uniforms: Any, ids: Any, weights: Any) -> None:
        if code < 0 or code >= count or (draws[code] and len(uniforms) == 0):
            weights[:], weights[0] = 0, 1
            return
        before, best, uniform = 0.0, p[0], np.float32(0)
        for i in range(len(p)):
            other, rank = np.float32(ids[i + 1] != ids[0]), np.float32(i)
            if draws[code]:
                uniform = uniforms[shared + i]
            place = (p[i], h, rank, np.float32(before), best, other, uniform)
            weights[0], weights[i + 1] = rule(code, place, uniforms, parameters)
            before += p[i]
        if shares[code]:
            normalise(weights)

    return weigh


def _rule(policies: tuple[Policy, ...]) -> Any:
    """A compiled function (code, arguments of one candidate, uniforms, parameters) -> weights of token and candidate.

    Written as source: Numba has no calls whose arguments are named by data.
    """
    own = [name for name in ARGUMENTS if name not in SHARED_UNIFORMS]
    known = {name: f"place[{at}]" for at, name in enumerate(own)}
    known |= {name: f"uniforms[{at}]" for at, name in enumerate(SHARED_UNIFORMS)}
    scope, lines = dict[str, Any](), ["def rule(code, place, uniforms, parameters):"]
    for code, policy in enumerate(policies):
        named = known | {name: f"parameters[{column}]" for column, name in enumerate(policy.names)}
        scope[f"weights_{code}"] = compiled(rebound(policy.weights, exp=math.exp, log=math.log))
        lines += [
            f"    if code == {code}:",
            f"        own, rest = weights_{code}({', '.join(named[name] for name in policy.arguments)})",
            "        return float(own), float(rest)",
        ]
    exec("\n".join([*lines, "    return 1.0, 0.0"]), scope)
    return compiled(scope["rule"])


@compiled
def normalise(weights: Any) -> None:
    """Shares of one row divided by their sum; plain where they sum to nothing."""
    total = 0.0
    for i in range(len(weights)):
        total += weights[i]
    if total > 0:
        for i in range(len(weights)):
            weights[i] /= total
    else:
        weights[:] = 0
        weights[0] = 1


@kept
def embed(ids: Any, weights: Any, table: Any, start: Any, end: Any, x: Any) -> None:
    """x [B,D] = weighted rows of a float32 table, in slot order."""
    for b in range(len(ids)):
        x[b] = 0
        for j in range(ids.shape[1]):
            if weights[b, j] != 0 and start <= ids[b, j] < end:
                row, weight = table[ids[b, j] - start], weights[b, j]
                for d in range(len(row)):
                    x[b, d] += weight * row[d]
