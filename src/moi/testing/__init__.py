"""The contract as data: what every implementation and backend is held to."""

from moi.testing.assertions import TOLERANCES, assert_close, assert_embedding, assert_mixture
from moi.testing.cases import CASES, Case
from moi.testing.inputs import Inputs, parameters_of, probes
from moi.testing.oracle import oracle_embed, oracle_mix

__all__ = [
    "CASES",
    "TOLERANCES",
    "Case",
    "Inputs",
    "assert_close",
    "assert_embedding",
    "assert_mixture",
    "oracle_embed",
    "oracle_mix",
    "parameters_of",
    "probes",
]
