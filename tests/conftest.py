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
os.environ["HF_HUB_OFFLINE"] = "1"  # no test asks the network; read when huggingface_hub is first imported
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
