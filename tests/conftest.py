"""What every test shares: Triton's interpreter where there is no GPU, one thread, tiny models made once."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from moi_engines.testing import save_tiny_model

if not torch.cuda.is_available():  # read by Triton when it is first imported
    os.environ.setdefault("TRITON_INTERPRET", "1")
torch.set_num_threads(1)  # tiny tensors: a second thread only waits


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
