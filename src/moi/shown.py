"""How a message quotes a value that somebody sent: in one line, and short whatever its length or depth."""

from __future__ import annotations

import reprlib
from typing import Any

LONGEST = 120  # characters

_SHORT = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxstring, _SHORT.maxother, _SHORT.maxlong = 3, 60, 60, 60


def shown(value: Any) -> str:
    """`repr(value)`, its middle or end left out where that is longer than a message should be."""
    try:
        text = _SHORT.repr(value).replace("\n", " ")
    except ValueError:  # an integer of more digits than Python writes
        text = f"<{type(value).__name__} of {value.bit_length()} bits>"
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."
