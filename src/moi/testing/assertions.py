"""Tolerances, and the assertions that every backend is held to."""

from __future__ import annotations

import torch
from torch import Tensor

from moi.mixture import Mixture

# Largest |difference| allowed, by type of the result. Weights are float32 sums of at most V terms,
# whatever the logits' type: logits are widened exactly. Embeddings of unit-scale tables accumulate in
# float32 and round once to the table's type, so half a unit in the last place of values up to 4.
TOLERANCES: dict[torch.dtype, float] = {
    torch.float32: 4e-6,
    torch.float16: 2e-3,
    torch.bfloat16: 1.6e-2,
}


def assert_mixture(actual: Mixture, expected: Mixture) -> None:
    """ids equal, weights and entropy within float32's tolerance, types and weight sums as documented."""
    assert actual.ids.dtype == torch.int32
    assert actual.weights.dtype == actual.entropy.dtype == torch.float32
    assert torch.equal(actual.ids.cpu(), expected.ids.cpu()), "candidates differ"
    tolerance = TOLERANCES[torch.float32]
    assert_close("weights", actual.weights, expected.weights, tolerance)
    assert_close("entropy", actual.entropy, expected.entropy, tolerance)
    assert_close("weight sum", actual.weights.sum(-1), torch.ones(len(actual.ids)), tolerance)


def assert_embedding(actual: Tensor, expected: Tensor) -> None:
    """Embeddings equal within the tolerance of the table's type."""
    assert_close("embedding", actual, expected, TOLERANCES[actual.dtype])


def assert_close(name: str, actual: Tensor, expected: Tensor, tolerance: float) -> None:
    """Of one shape, and nowhere further apart than `tolerance`; the message has `name` and the largest difference."""
    assert actual.shape == expected.shape, f"{name}: shape {list(actual.shape)}, expected {list(expected.shape)}"
    difference = (actual.cpu().double() - expected.cpu().double()).abs()
    worst = difference.max().item() if difference.numel() else 0.0
    assert worst <= tolerance, f"{name}: differs by {worst:.3g}, allowed {tolerance:.3g}"
