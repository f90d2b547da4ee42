"""The running numbers of a request, who owns the lists in what is told of it, and the counters of a process."""

from __future__ import annotations

import functools

import pytest

from moi_serving.metrics import Metrics
from moi_serving.telemetry import Summary

RECORDS = [(0.5, 0.25, True, 0, None, True), (0.25, 0.0, False, 0, None, True)]


def test_what_was_told_stays_as_it_was() -> None:
    summary = Summary()
    summary.add(RECORDS[:1])
    first = summary.to_dict()
    summary.add(RECORDS[1:])
    assert (first["entropy"], summary.to_dict()["entropy"]) == ([0.5], [0.5, 0.25])
    assert first["mean_entropy"] == 0.5


def test_lists_that_nobody_reads_before_the_end_are_not_copied() -> None:
    summary = Summary()
    summary.add(RECORDS[:1])
    first = summary.to_dict(growing=True)
    summary.add(RECORDS[1:])
    assert first["entropy"] is summary.to_dict(growing=True)["entropy"]
    assert first["entropy"] == [0.5, 0.25]


@pytest.mark.parametrize("growing", [False, True])
def test_lists_are_for_those_who_ask(growing: bool) -> None:
    summary = Summary()
    summary.add((*record[:-1], False) for record in RECORDS)
    assert set(summary.to_dict(growing)) == {"mean_entropy", "mean_intervention", "mixed_tokens", "replayed_tokens"}


def test_an_engine_that_publishes_nothing_silences_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    prometheus = pytest.importorskip("prometheus_client")
    registry = prometheus.CollectorRegistry()
    monkeypatch.setattr(prometheus, "Counter", functools.partial(prometheus.Counter, registry=registry))
    metrics = Metrics()
    metrics.count("refused_requests")  # nobody publishes yet
    metrics.enable({"model_name": "a"})
    metrics.count("refused_requests")
    metrics.enable(None)  # the second engine of the process
    metrics.count("refused_requests")
    assert registry.get_sample_value("moi_refused_requests_total", {"model_name": "a"}) == 2
