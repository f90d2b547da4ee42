"""Text of a growing list of token ids, cut at stop strings."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress
from typing import Any

from moi_engines.detokenizer import Detokenizer, overlap

_OFTEN = 64  # tokens that wait: up to so many are searched for stop strings each time, then now and again


class TextStream:
    """Feeds token ids of one row, returns the text that is certain.

    Texts of `push` and `flush`, joined, are tokenizer.decode(ids, skip_special_tokens=True) up to the first stop
    string. A stop string may be, or hold, the text of a special token. Text that may turn out to be the
    beginning of a stop string is held back until that is decided.
    """

    def __init__(self, tokenizer: Any, stop: Sequence[str]) -> None:
        self._decoder = Detokenizer(tokenizer)
        self._stop = stop
        self._held = ""  # with the text of special tokens, which is searched but not shown
        self._shown: list[bool] = []  # character by character of _held
        self.stopped = False

    def push(self, token_id: int) -> tuple[str, bool]:
        """(text to add, whether a stop string was met); nothing after a stop string."""
        if self.stopped:
            return "", True
        self._hold(self._decoder.push(token_id), shown=True)
        if not self._stop:
            return self._release(len(self._held)), False
        special = self._decoder.special(token_id)
        rest = self._rest(bool(special))
        if self._first_stop(self._held + rest + special) is not None:
            self._hold(rest, shown=True)
            self._hold(special, shown=False)
            return self._cut(), True
        self._hold(special, shown=False)
        keep = max(overlap(self._held, stop) for stop in self._stop)
        return self._release(len(self._held) - keep), False

    def flush(self) -> str:
        """What was held back, once no more tokens come."""
        if self.stopped:
            return ""
        self._hold(self._decoder.rest(), shown=True)
        return self._cut()

    def _rest(self, ends_here: bool) -> str:
        """What the text would end with; of half a character only where a special token ends it."""
        waiting = self._decoder.waiting
        if waiting > _OFTEN and waiting % _OFTEN:
            return ""
        rest = self._decoder.rest()
        return rest if ends_here or "\ufffd" not in rest else ""

    def _first_stop(self, text: str) -> int | None:
        return min((at for at in map(text.find, self._stop) if at >= 0), default=None)

    def _hold(self, text: str, *, shown: bool) -> None:
        self._held += text
        self._shown += [shown] * len(text)

    def _cut(self) -> str:
        """All of the text, or what is before its first stop string."""
        at = self._first_stop(self._held)
        self.stopped = at is not None
        return self._release(len(self._held) if at is None else at)

    def _release(self, count: int) -> str:
        text = "".join(compress(self._held[:count], self._shown))
        self._held, self._shown = self._held[count:], self._shown[count:]
        return text
