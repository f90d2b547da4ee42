"""Where a request stops to mix, and where it begins again: the two marks around a model's thinking."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from moi_serving.row_layout import NO_TOKEN
from moi_serving.settings import THINK_END, RequestSettings


class Marks(NamedTuple):
    """Token ids, or -1. end: what follows is plain; start: what follows is mixed again."""

    end: int = NO_TOKEN
    start: int = NO_TOKEN

    @property
    def may_stop(self) -> bool:
        """Whether some token stops the mixing."""
        return self.end != NO_TOKEN

    def open_after(self, ids: Sequence[int], before: bool) -> bool:
        """Whether the token after `ids` is mixed: as the last mark among them says, without any as `before`."""
        if not self.may_stop or not len(ids):
            return before
        given = np.asarray(ids, np.int64)
        found = np.flatnonzero((given == self.end) | ((given == self.start) & (self.start != NO_TOKEN)))
        return bool(given[found[-1]] != self.end) if len(found) else before


def marks_of(settings: RequestSettings, thinking: Callable[[], Marks]) -> Marks:
    """Of a request; `thinking` gives the two around its model's thinking, or raises ValueError."""
    if not settings.mixes or settings.mix_until is None:
        return Marks()
    return thinking() if settings.mix_until == THINK_END else Marks(int(settings.mix_until))


def thinking_marks(tokenizer: Any, start: str, end: str, end_ids: Sequence[int] | None) -> Marks:
    """Of the texts around a model's thinking, and the ids of the end if the host knows them.

    tokenizer  of transformers, or None

    ValueError if no single token ends it.
    """

    def encode(text: str) -> list[int]:
        return [] if tokenizer is None else list(tokenizer.encode(text, add_special_tokens=False))

    ids, begins = end_ids or encode(end), encode(start)
    if len(ids) != 1:
        raise ValueError(
            f"until={THINK_END!r} needs a model whose thinking ends with one token "
            "(--reasoning-parser names it, else '</think>'); give its token id instead"
        )
    return Marks(int(ids[0]), int(begins[0]) if len(begins) == 1 else NO_TOKEN)
