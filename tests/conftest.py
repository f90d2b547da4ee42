"""What every test shares: Triton's interpreter where there is no GPU, one thread, tiny models made once."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from moi_engines.testing import save_tiny_model

if not torch.cuda.is_available():  # read by Triton when it is first imported
    os.environ.setdefault("TRITON_INTERPRET", "1")
torch.set_num_threads(1)  # tiny tensors: a second thread only waits

# Of all random numbers that tests draw; another one in each run.
BASE_SEED = int(os.environ.get("MOI_TEST_SEED") or secrets.randbelow(10**6))


def pytest_report_header() -> str:
    return f"MOI_TEST_SEED={BASE_SEED} repeats this run's random numbers"


@pytest.fixture(scope="session")
def base_seed() -> int:
    return BASE_SEED


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """tiny_model("qwen3") -> the folder of a random model of that architecture."""
    folders: dict[str, Path] = {}

    def folder(architecture: str) -> Path:
        if architecture not in folders:
            folders[architecture] = save_tiny_model(tmp_path_factory.mktemp(architecture), architecture)
        return folders[architecture]

    return folder


@pytest.fixture(scope="session")
def real_model() -> Callable[[str], Path]:
    """real_model("gemma3-270m") -> its folder below MOI_REAL_MODELS; skips where there is none."""

    def folder(name: str) -> Path:
        found = Path(os.environ.get("MOI_REAL_MODELS", "no folder"), name)
        if not (found / "config.json").is_file():
            pytest.skip("no real models here; MOI_REAL_MODELS names the folder of them")
        return found

    return folder
