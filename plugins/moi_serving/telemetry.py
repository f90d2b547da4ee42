"""What a response says of a request: numbers of each generated token, and their summary."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from moi_serving.replay import RequestState
from moi_serving.row_layout import entropy_of, interventions, is_due

# One generated token, as it travels to the tokenizer process: entropy, intervention, whether its mixture is what is fed
# back, how many were replayed so far, the seed if the policy draws, and whether the response tells of each token. A
# plain tuple, since a worker without plugins writes it into its JSON.
TokenRecord = tuple[float, float, bool, int, int | None, bool]


class TokenTelemetry:
    """The TokenRecords of a request as SGLang's output streamer reads them: by slices, made when they are asked for."""

    def __init__(self, state: RequestState) -> None:
        self._state = state

    def __getitem__(self, tokens: slice) -> list[TokenRecord]:
        state, rows = self._state, self._state.rows(tokens.start or 0, tokens.stop)
        columns = entropy_of(rows).tolist(), interventions(rows).tolist(), is_due(rows).tolist()
        rest = state.replayed, state.drawn_seed, state.settings.per_token
        return [(*values, *rest) for values in zip(*columns, strict=True)]


class Summary:
    """Running numbers of one request, where its response is made; of them `replayed`, tokens, may be read."""

    def __init__(self) -> None:
        self._entropy = self._intervention = 0.0
        self._count = self._due = self.replayed = 0
        self._last_due = False
        self._seed: int | None = None
        self._lists: dict[str, list[float]] = {}

    def add(self, records: Iterable[TokenRecord]) -> None:
        """Of tokens that were generated since."""
        for entropy, intervention, due, replayed, self._seed, each in records:
            self._count += 1
            self._entropy += entropy
            self._intervention += intervention
            self._due += due
            self._last_due, self.replayed = due, replayed
            if each:
                self._lists.setdefault("entropy", []).append(entropy)
                self._lists.setdefault("intervention", []).append(intervention)

    def to_dict(self, growing: bool = False) -> dict[str, Any]:
        """The last token has not been fed back, so its mixture does not count as mixed.

        growing  the lists of `per_token` are those that go on growing, where copies for each token, together quadratic
                 in the text, would be read by nobody
        """
        told: dict[str, Any] = {
            "mean_entropy": self._entropy / self._count,
            "mean_intervention": self._intervention / self._count,
            "mixed_tokens": self._due - self._last_due,
            "replayed_tokens": self.replayed,
        }
        if self._seed is not None:
            told["seed"] = self._seed
        return told | {key: values if growing else list(values) for key, values in self._lists.items()}
