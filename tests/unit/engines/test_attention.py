"""Attention of a decode step with grouped queries, against transformers' own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import FalconConfig, FalconForCausalLM
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from moi_engines import attention
from moi_engines.attention import group_queries, grouped_attention
from moi_engines.checkpoint import load_checkpoint

CPU = torch.device("cpu")


@given(
    rows=st.integers(1, 4),
    keys=st.integers(1, 3),
    groups=st.integers(1, 7),
    queries=st.integers(1, 3),
    width=st.sampled_from([8, 64]),
    masked=st.sampled_from(["no", "rows", "heads"]),
    scaling=st.sampled_from([None, 0.3]),
    data=st.data(),
)
def test_it_is_transformers_own(
    rows: int, keys: int, groups: int, queries: int, width: int, masked: str, scaling: float | None, data: Any
) -> None:
    length = data.draw(st.integers(queries, 20))
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 1 << 31)))
    query = torch.randn(rows, queries, keys * groups, width, generator=generator).transpose(1, 2)  # as models have it
    key, value = torch.randn(2, rows, keys, length, width, generator=generator)
    mask = None
    if masked != "no":
        mask = torch.rand(rows, keys * groups if masked == "heads" else 1, queries, length, generator=generator) < 0.6
        mask[..., -1] = True
    module = SimpleNamespace(num_key_value_groups=groups, is_causal=True)
    want, _ = sdpa_attention_forward(module, query, key, value, mask, scaling=scaling)
    got, _ = grouped_attention(module, query, key, value, mask, scaling=scaling)
    assert got.shape == want.shape
    torch.testing.assert_close(got, want)


def test_a_model_on_a_cpu_decodes_with_it(tiny_model: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def noted(module: Any, query: torch.Tensor, *given: Any, **settings: Any) -> Any:
        asked.append(query.shape[2])
        return grouped_attention(module, query, *given, **settings)

    monkeypatch.setattr(attention, "grouped_attention", noted)
    model = load_checkpoint(tiny_model("qwen3"), CPU, torch.float32).model
    with torch.inference_mode():
        cache = model(input_ids=torch.tensor([[5, 6, 7]])).past_key_values
        model(input_ids=torch.tensor([[8]]), past_key_values=cache)
    layers = model.config.num_hidden_layers
    assert asked == [3] * layers + [1] * layers


def test_a_model_that_attends_in_another_way_is_left_alone(tiny_model: Callable[[str], Path]) -> None:
    model = load_checkpoint(tiny_model("qwen3"), CPU, torch.float32).model
    model.set_attn_implementation("eager")
    group_queries(model)
    assert model.config._attn_implementation == "eager"


def test_a_model_whose_attention_cannot_be_exchanged_is_left_alone_without_a_word(
    caplog: pytest.LogCaptureFixture,
) -> None:
    config = FalconConfig(vocab_size=32, hidden_size=16, num_hidden_layers=1, num_attention_heads=2)
    model = FalconForCausalLM(config)
    group_queries(model)
    assert (model.config._attn_implementation, caplog.records) == ("sdpa", [])
