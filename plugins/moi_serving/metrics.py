"""Prometheus counters beside the host's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from moi_serving.row_layout import Rows, entropy_of, interventions, is_due
from moi_serving.telemetry import TokenRecord

_COUNTERS = {
    "mixed_tokens": "Generated tokens whose mixture is fed back.",
    "observed_tokens": "Generated tokens of requests that mix or report their entropies.",
    "entropy": "Sum of normalised entropies; over moi_observed_tokens it is their mean.",
    "intervention": "Sum of interventions (1 - weight of the token); over moi_observed_tokens it is their mean.",
    "replayed_tokens": "Generated tokens prefilled again as their mixtures, after a retraction or a pause.",
    "refused_requests": "Requests refused for their moi settings.",
}


class Metrics:
    """Silent until `enable` has been called, in a process that publishes metrics."""

    def __init__(self) -> None:
        self._labels: dict[str, str] | None = None
        self._counters: dict[str, Any] = {}

    def enable(self, labels: dict[str, str]) -> None:
        """Count from now on, under these labels."""
        self._labels = dict(labels)

    def generated(self, rows: Rows, kept: list[int]) -> None:
        """Rows [B,W] of a sampled batch, of which those in `kept` were committed."""
        if self._labels is not None and kept:
            rows = rows[kept]
            self._count("mixed_tokens", int(is_due(rows).sum()))
            self._count("observed_tokens", len(kept))
            self._count("entropy", float(entropy_of(rows).sum()))
            self._count("intervention", float(interventions(rows).sum()))

    def reported(self, records: Sequence[TokenRecord]) -> None:
        """The same of records, where the process that publishes is not the one that decodes."""
        if self._labels is not None:
            self._count("mixed_tokens", sum(record[2] for record in records))
            self._count("observed_tokens", len(records))
            self._count("entropy", sum(record[0] for record in records))
            self._count("intervention", sum(record[1] for record in records))

    def replayed(self, tokens: int) -> None:
        """Tokens that are prefilled again as their mixtures."""
        self._count("replayed_tokens", tokens)

    def refused(self) -> None:
        """One request."""
        self._count("refused_requests", 1)

    def _count(self, name: str, amount: float) -> None:
        if self._labels is None:
            return
        if not self._counters:  # on first use: a host has told prometheus_client by then where to write
            from prometheus_client import Counter

            for each, text in _COUNTERS.items():
                self._counters[each] = Counter(f"moi_{each}", text, list(self._labels)).labels(**self._labels)
        self._counters[name].inc(amount)
