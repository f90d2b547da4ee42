"""Where a request stops to mix, and where it begins again: the two marks around a model's thinking."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from moi_serving.slots.tables import NO_TOKEN


class Marks(NamedTuple):
    """Token ids, or -1. end: what follows is plain; start: what follows is mixed again."""

    end: int = NO_TOKEN
    start: int = NO_TOKEN

    @property
    def may_stop(self) -> bool:
        return self.end != NO_TOKEN

    def open_after(self, ids: Sequence[int], before: bool) -> bool:
        """Whether the token after `ids` is mixed: as the last mark among them says, without any as `before`."""
        if not self.may_stop or not len(ids):
            return before
        given = np.asarray(ids, np.int64)
        found = np.flatnonzero((given == self.end) | ((given == self.start) & (self.start != NO_TOKEN)))
        return bool(given[found[-1]] != self.end) if len(found) else before
