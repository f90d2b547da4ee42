"""Plots of scaling: what varies is on x, everything else is in the title, and nothing is drawn from one point."""

from __future__ import annotations

import copy
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from typing import Any

import pytest

from moi_bench.report import scaling, testing


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[tuple[dict[str, Any], str, str, str, bool]]:
    """What is handed to the drawing."""
    calls: list[tuple[dict[str, Any], str, str, str, bool]] = []
    real = scaling.figures.lines

    def lines(series: Any, x_label: str, y_label: str, title: str, *, signed: bool = False) -> str:
        calls.append((series, x_label, y_label, title, signed))
        return real(series, x_label, y_label, title, signed=signed)

    monkeypatch.setattr(scaling.figures, "lines", lines)
    return calls


def draw(plots: Iterator[str]) -> None:
    for figure in plots:
        ET.fromstring(figure)


def on(device: str, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"device": device, **row} for row in rows]


def test_the_op_over_each_axis(drawn: list[Any]) -> None:
    rows = on("here", testing._op())
    for axis, value in (("top_k", 5), ("vocab", 9000)):
        rows.append(copy.deepcopy(rows[0]))
        rows[-1]["case"][axis], rows[-1]["median_us"] = value, float(value)
    draw(scaling.op_plots(rows))
    assert [call[1:] for call in drawn] == [
        ("rows B", "µs per step", "V=1000, D=64, K=20, float32 official, here", False),
        ("vocabulary V", "µs per step", "B=1, D=64, K=20, float32 official, here", False),
        ("candidates K", "µs per step", "B=1, V=1000, D=64, float32 official, here", False),
    ]
    assert drawn[0][0] == {
        "eager": [(1, 10.0), (8, 15.0), (64, 100.0)],
        "fused": [(1, 2.5), (8, 3.75), (64, 25.0)],
    }
    assert drawn[1][0] == {"eager": [(1000, 10.0), (9000, 9000.0)]}
    assert drawn[2][0] == {"eager": [(20, 10.0), (5, 5.0)]}


def test_engines_add_the_difference_of_their_times_per_token(drawn: list[Any]) -> None:
    draw(scaling.engine_plots(on("here", testing._engines())))
    ((series, label, unit, title, signed),) = drawn
    assert series == {"torch": [(2, 250.0), (8, 500.0)], "sglang": [(2, -125.0), (8, 125.0)]}
    assert (label, signed) == ("batch", True)
    assert unit == "added µs per decode step"
    assert title == "embedded, V=116, context 6, 4 new tokens, here"


def test_the_vocabulary_varies_on_one_body_only(drawn: list[Any]) -> None:
    rows = []
    for model, vocab in (("narrow-32k", 32_000), ("narrow-152k", 151_936), ("embedded", 115)):
        rows += on("here", testing._engines()[:1])
        rows[-1]["case"] |= {"model": model, "vocab": vocab}
    draw(scaling.engine_plots(rows))
    ((series, label, _, title, _),) = drawn
    assert label == "vocabulary V"
    assert series == {"torch": [(32_000, 250.0), (151_936, 250.0)]}
    assert "narrow, B=2" in title


def test_serving_has_a_plot_for_each_host_and_a_line_for_each_share(drawn: list[Any]) -> None:
    other = [{**row, "engine": "vllm"} for row in testing._serve()]
    draw(scaling.serve_plots(on("here", testing._serve() + other)))
    for (series, label, _, title, signed), host in zip(drawn, ("sglang", "vllm"), strict=True):
        assert series == {"50% MoI requests": [(1, 0.125), (8, 1.0)]}
        assert (label, signed) == ("concurrent requests", True)
        assert title == f"{host}, made up, 8 words in, 16 tokens out, here"


def test_machines_are_not_mixed_and_one_point_is_no_plot(drawn: list[Any]) -> None:
    rows = testing._engines()
    draw(scaling.engine_plots([*on("here", rows[:1]), *on("there", rows[1:2]), *on("there", rows[3:])]))
    assert drawn == []
