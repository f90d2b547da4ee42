"""Where a request stops to mix, and where it begins again: the two marks around a model's thinking."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

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


class ThinkingWords(NamedTuple):
    """What a host says of its model: the texts around thinking, the ids of the end if it knows them, its tokenizer."""

    start: str
    end: str
    end_ids: Sequence[int] | None
    encode: Callable[[str], list[int]]


class Thinking:
    """The marks of a host's model, looked up once."""

    def __init__(self) -> None:
        self._marks: Marks | None = None

    def marks(self, settings: RequestSettings, words: Callable[[], ThinkingWords]) -> Marks:
        """Of a request. ValueError if it is to mix until the end of thinking, and no single token ends that."""
        if not settings.mixes or settings.mix_until is None:
            return Marks()
        if settings.mix_until != THINK_END:
            return Marks(int(settings.mix_until))
        if self._marks is None:
            self._marks = _marks_of(words())
        return self._marks


def _marks_of(words: ThinkingWords) -> Marks:
    ids = words.end_ids or words.encode(words.end)
    if len(ids) != 1:
        raise ValueError(
            f"until={THINK_END!r} needs a model whose thinking ends with one token "
            "(--reasoning-parser names it, else '</think>'); give its token id instead"
        )
    begins = words.encode(words.start)
    return Marks(int(ids[0]), int(begins[0]) if len(begins) == 1 else NO_TOKEN)
