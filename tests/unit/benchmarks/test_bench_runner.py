"""What benchmarks share: turns, spreads, ratios within a turn, and rows that are kept as they come."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from moi_bench import runner, shapes


def test_sides_take_turns_who_begins_alternates_and_the_first_turn_is_dropped() -> None:
    calls: list[tuple[int, str]] = []

    def side(name: str) -> Any:
        return lambda turn: calls.append((turn, name)) or f"{name}{turn}"

    found = runner.turns({name: side(name) for name in "ab"}, 2)
    assert calls == [(0, "a"), (0, "b"), (1, "b"), (1, "a"), (2, "a"), (2, "b")]
    assert found == {"a": ["a1", "a2"], "b": ["b1", "b2"]}
    assert runner.turns({"a": side("a")}, 1, warm_up=False) == {"a": ["a1"]}


def test_a_ratio_is_taken_within_each_turn() -> None:
    ours = [{"tokens_per_s": value} for value in (90.0, 40.0, 9.0)]
    theirs = [{"tokens_per_s": value} for value in (100.0, 50.0, 10.0)]
    assert runner.ratio(ours, theirs) == pytest.approx({"median": 0.9, "p10": 0.8, "p90": 0.9, "turns": 3})
    assert runner.spreads(ours) == {"tokens_per_s": {"median": 40.0, "p10": 9.0, "p90": 90.0}}
    with pytest.raises(ValueError, match="zip"):
        runner.ratio(ours, theirs[:2])


def test_rows_are_on_disk_before_the_next_is_measured(tmp_path: Path) -> None:
    out, logged = tmp_path / "rows.json", list[int]()

    def rows() -> Iterator[dict[str, Any]]:
        for number in range(2):
            yield {**runner.shared(torch.device("cpu"), "numpy"), "kind": "op", "number": number}
            assert [row["number"] for row in json.loads(out.read_text())] == [*range(number + 1)] == logged
        raise RuntimeError("it broke")

    with pytest.raises(RuntimeError, match="it broke"):
        runner.record(rows(), out, lambda row: logged.append(row["number"]))
    kept = json.loads(out.read_text())
    assert [row["number"] for row in kept] == [0, 1]
    assert kept[0]["versions"]["numpy"]


@pytest.mark.parametrize("name", shapes.SHAPES)
def test_shapes_are_configurations_that_transformers_takes(name: str) -> None:
    from transformers import AutoConfig

    shape = shapes.SHAPES[name]
    kind = {"gemma3": "gemma3_text"}.get(shape.architecture, shape.architecture)
    config = AutoConfig.for_model(kind, **shape.fields)
    assert {key: getattr(config, key) for key in shape.fields} == shape.fields
    assert config.hidden_size % config.num_attention_heads == 0
