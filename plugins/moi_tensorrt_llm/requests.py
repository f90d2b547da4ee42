"""Which request has which slot. TensorRT-LLM tells the model request ids, neither slots nor when a request ends."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterator
from dataclasses import dataclass

PLAIN = 0  # the slot of requests that do not mix, and of padding
_REMEMBERED = 8192  # ids that lost their slots; ids only grow, so that the oldest never come back


@dataclass
class Row:
    """A request that mixes.

    slot   of its tables
    first  position of its first generated token, once that is known: what is before it is its prompt
    end    up to where its tokens were prefilled
    """

    slot: int
    first: int | None = None
    end: int = 0


class Requests:
    """The rows of the requests that were seen last, of `slots` slots besides PLAIN."""

    def __init__(self, slots: int) -> None:
        self._rows: OrderedDict[int, Row] = OrderedDict()  # least recently seen first
        self._free: Iterator[int] = iter(range(PLAIN + 1, slots + 1))
        self._lost: OrderedDict[int, None] = OrderedDict()

    def get(self, request: int) -> Row | None:
        """The row of a request that has one; RuntimeError if its slot was given to another."""
        row = self._rows.get(request)
        if row is not None:
            self._rows.move_to_end(request)
        elif request in self._lost:
            raise RuntimeError(f"request {request} came back after others took its slot: its mixtures are gone")
        return row

    def add(self, request: int, batch: Collection[int]) -> Row:
        """A row for a new request: of a free slot, or of the request that was seen longest ago and is not in `batch`.

        RuntimeError if the batch has them all.
        """
        slot = next(self._free, None)
        self._rows[request] = row = Row(self._take(batch) if slot is None else slot)
        return row

    def _take(self, batch: Collection[int]) -> int:
        oldest = next((request for request in self._rows if request not in batch), None)
        if oldest is None:
            raise RuntimeError(f"{len(self._rows)} requests in a batch, each with a slot, and one more to come")
        self._lost[oldest] = None
        if len(self._lost) > _REMEMBERED:
            self._lost.popitem(last=False)
        return self._rows.pop(oldest).slot
