"""The libraries behind the implementations: what is missing, stand-ins, and what Numba compiles of policies."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from moi import Parameter, Policy
from moi.kernels import IMPLEMENTATIONS


def test_numba_compiles_whatever_policies_there_are() -> None:
    """Codes in their order, each by its own arithmetic; a code that is none decodes plainly."""
    numba_loops = pytest.importorskip("moi.kernels.numba_loops", reason="needs Numba: the extra cpu")
    beta, top = Parameter("beta", 1.0), Parameter("top", 1.0)
    policies = (
        Policy("one", lambda prior: (1, 0 * prior)),
        Policy("two", lambda top, prior, entropy: (-entropy, top * prior), (beta, top)),
        Policy("three", lambda before, beta, best, rank: (beta, before - best * rank), (beta,)),
    )
    weigh, found = numba_loops._by_code(policies), []
    for code in (0, 1, 2, 9):
        weights = np.empty(3, np.float32)
        p, parameters = np.array([0.75, 0.25], np.float32), np.array([3.0, 2.0], np.float32)
        weigh(code, p, np.float32(0.5), parameters, np.zeros(0, np.float32), np.arange(3, dtype=np.int32), weights)
        found.append(weights.tolist())
    assert found == [[1.0, 0.0, 0.0], [-0.5, 1.5, 0.5], [3.0, 0.0, 0.0], [1.0, 0.0, 0.0]]


def test_importing_moi_imports_no_library_of_an_implementation() -> None:
    code = "import sys, moi; sys.exit(any(name in sys.modules for name in ('numba', 'triton', 'flashinfer')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_unavailable_says_why_and_what_to_install() -> None:
    reason = IMPLEMENTATIONS["flashinfer"].unavailable(torch.device("cpu"))
    assert "NVIDIA" in reason
    assert "CPU" in IMPLEMENTATIONS["numba"].unavailable(torch.device("meta"))
    reason = IMPLEMENTATIONS["triton"].unavailable(torch.device("meta"))
    assert "pip install mixture-of-inputs[triton]" in reason
