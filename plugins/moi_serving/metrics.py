"""Prometheus counters beside the host's own."""

from __future__ import annotations

from typing import Any

from moi_serving.row_layout import Rows, entropy_of, interventions, is_due

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

    def enable(self, labels: dict[str, str] | None) -> None:
        """Count from now on, under these labels; None: of an engine that publishes nothing, others go on."""
        self._labels = labels or self._labels

    def generated(self, rows: Rows, kept: list[int]) -> None:
        """Rows [B,W] of a sampled batch, of which those in `kept` were committed."""
        if self._labels is not None and kept:
            rows = rows[kept]
            self.count("mixed_tokens", int(is_due(rows).sum()))
            self.count("observed_tokens", len(kept))
            self.count("entropy", float(entropy_of(rows).sum()))
            self.count("intervention", float(interventions(rows).sum()))

    def count(self, name: str, amount: float = 1) -> None:
        """Add to one of the counters, by its name here."""
        if self._labels is None:
            return
        if not self._counters:  # on first use: a host has told prometheus_client by then where to write
            from prometheus_client import Counter

            for each, text in _COUNTERS.items():
                self._counters[each] = Counter(f"moi_{each}", text, list(self._labels)).labels(**self._labels)
        self._counters[name].inc(amount)
