"""Loops over one row after the other that Numba compiles. Imported on first use: importing it needs Numba.

A logit travels as an integer key that sorts like it: NaN and -inf at the bottom, +inf at the largest float32, -0.0
equal to 0.0. Reading ids upwards and replacing only where a key is larger gives the one order: logit desc, id asc.
Dims: B rows, V vocabulary, K candidates, S = K + 1 slots, D embedding width.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

GROUP = 256  # ids whose largest key is compared with the K-th before any of them is looked at
_SIGN = np.int32(31)
_MAGNITUDE = np.int32(0x7FFFFFFF)
_LOWEST = np.int32(-(2**31))  # below every key; as bits, -0.0
_INF_BITS = np.int32(0x7F800000)
_MAX_KEY = np.int32(0x7F7FFFFF)  # the largest float32
_MIN_KEY = np.int32(-0x7F800001)  # -inf

compiled: Callable[[Callable[..., Any]], Any] = njit(error_model="numpy", nogil=True)


@compiled
def key_of(bits: Any) -> Any:
    """The key of a float32 by its bits."""
    key = bits ^ ((bits >> _SIGN) & _MAGNITUDE)
    if bits == _LOWEST:
        key = np.int32(0)
    if key > _INF_BITS or key < _MIN_KEY:  # NaN of either sign
        key = _MIN_KEY
    return min(key, _MAX_KEY)


@compiled
def select(bits: Any, ids: Any, keys: Any) -> None:
    """The K largest of one row, bits [V], into ids and keys [K]."""
    last, vocab = len(ids) - 1, len(bits)
    keys[:] = _LOWEST
    for start in range(0, vocab, GROUP):
        end = min(start + GROUP, vocab)
        best = _LOWEST
        for i in range(start, end):
            best = max(best, key_of(bits[i]))
        if best <= keys[last]:
            continue
        for i in range(start, end):
            key = key_of(bits[i])
            if key > keys[last]:
                at = last
                while at > 0 and keys[at - 1] < key:
                    keys[at], ids[at] = keys[at - 1], ids[at - 1]
                    at -= 1
                keys[at], ids[at] = key, i


@compiled
def vocabulary_nats(bits: Any, one: Any, peak: Any, tau: Any) -> Any:
    """Entropy of softmax over a whole row, in nats: ln Z - S / Z with Z = sum e^x and S = sum x e^x."""
    total, moment = 0.0, 0.0
    bit = one.view(np.int32)
    for i in range(len(bits)):
        key = key_of(bits[i])
        bit[0] = key ^ ((key >> _SIGN) & _MAGNITUDE)
        x = (one[0] - peak) / tau
        e = math.exp(x)
        if e > 0:
            total += e
            moment += e * x
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


def mixer(rules: tuple[Callable[..., Any], ...]) -> Any:
    """The compiled function that fills a Mixture, with the policies' `rules` by their codes; code 0 is plain."""
    weigh = _by_code(rules)

    @compiled
    def mix(
        bits: Any,
        token: Any,
        beta: Any,
        temperature: Any,
        policy: Any,
        over_vocab: bool,
        sampling: bool,
        inverse_log: Any,
        ids: Any,
        weights: Any,
        entropy: Any,
    ) -> None:
        z = np.empty(ids.shape[1] - 1, np.float32)
        keys, p, one = z.view(np.int32), np.empty_like(z), np.empty(1, np.float32)
        for b in range(len(bits)):
            ids[b, 0] = token[b]
            select(bits[b], ids[b, 1:], keys)
            if keys[0] == _MIN_KEY:  # no finite logit: plain
                weights[b], weights[b, 0], entropy[b] = 0, 1, 0
                continue
            for i in range(len(keys)):
                keys[i] ^= (keys[i] >> _SIGN) & _MAGNITUDE  # bits again, so z holds the logits
            tau = temperature[b] if sampling and temperature[b] > 0 else np.float32(1)
            nats = candidates_nats(z, tau, p)
            if over_vocab:
                nats = vocabulary_nats(bits[b], one, z[0], tau)
            h = np.float32(min(max(nats * inverse_log, 0.0), 1.0))
            entropy[b] = h
            weights[b, 0] = weigh(policy[b], np.float32(0), h, beta[b])[0]
            for i in range(len(p)):
                weights[b, i + 1] = weigh(policy[b], p[i], h, beta[b])[1]

    return mix


def _by_code(rules: tuple[Callable[..., Any], ...]) -> Any:
    """One compiled function (code, p, H, beta) -> weights; a code that is none decodes plainly."""
    chosen = None
    for code, rule in enumerate(rules):
        chosen = _link(code, compiled(rule), chosen)
    return chosen


def _link(mine: int, rule: Any, before: Any) -> Any:
    """`rule` where the code is `mine`, else what `before` says. float32, so that all rules have one type."""
    first = before is None

    @compiled
    def chosen(code: Any, prior: Any, entropy: Any, beta: Any) -> Any:
        if first or code == mine:
            own, other = rule(prior, entropy, beta)
            return np.float32(own), np.float32(other)
        return before(code, prior, entropy, beta)

    return chosen


@compiled
def embed(ids: Any, weights: Any, table: Any, start: Any, end: Any, x: Any) -> None:
    """x [B,D] = weighted rows of a float32 table, in slot order."""
    for b in range(len(ids)):
        x[b] = 0
        for j in range(ids.shape[1]):
            if weights[b, j] != 0 and start <= ids[b, j] < end:
                row, weight = table[ids[b, j] - start], weights[b, j]
                for d in range(len(row)):
                    x[b, d] += weight * row[d]
