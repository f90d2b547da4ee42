"""Requests of every policy to a real vLLM, and what its answers must tell."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

# Low betas and `direct` amplify rounding on random models: of those rows the judge takes what is decidable.
SETTINGS: list[dict[str, Any] | None] = [
    {"beta": 1.0, "per_token": 1},
    None,
    {"policy": "token"},
    {"beta": 2.0},
    {"beta": 0.5, "per_token": 1},
    {"policy": "direct", "per_token": 1},
    {"policy": "token", "per_token": 1},
    {"policy": "soft", "per_token": 1},
    {"policy": "selar", "strength": 0.5, "per_token": 1},
    {"policy": "router", "threshold": 0.1, "per_token": 1},
    {"policy": "gumbel", "tau": 0.3, "per_token": 1},
    {"policy": "multiplex", "draws": 2, "per_token": 1},
    {"policy": "multiplex", "seed": 77, "per_token": 1},
]


def check_answers(
    agree: Any, folder: Path, texts: Sequence[Sequence[int]], answers: Sequence[dict[str, Any]], **params: Any
) -> None:
    """Of a ragged batch of all SETTINGS; `params` are those of SamplingParams."""
    agree(folder, texts, SETTINGS, answers, **params)
    for settings, answer in zip(SETTINGS, answers, strict=True):
        moi = (answer["kv_transfer_params"] or {}).get("moi")
        if settings in (None, {"policy": "token"}):
            assert moi is None
            continue
        (moi,) = moi
        plain = settings.get("policy") == "token"
        assert moi["mixed_tokens"] == 0 if plain else moi["mixed_tokens"] <= len(answer["choices"][0]["token_ids"]) - 1
        assert moi["mean_intervention"] == 0 or not plain
        if "per_token" in settings:
            assert moi["mean_entropy"] == pytest.approx(sum(moi["entropy"]) / len(moi["entropy"]), abs=1e-5)
        else:
            assert "entropy" not in moi
