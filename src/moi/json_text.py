"""JSON that any reader takes: what `json` would write as NaN or Infinity, RFC 8259 has no number for."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from typing import Any, TextIO


def dumps(value: Any, **options: Any) -> str:
    """`json.dumps` with infinities as "inf" and "-inf" and NaN as null; half surrogates are escaped."""
    plain = _finite(value)
    text = json.dumps(plain, allow_nan=False, **options)
    return text if _fits(text, "utf-8") else json.dumps(plain, allow_nan=False, **{**options, "ensure_ascii": True})


def write(value: Any, stream: TextIO | None = None, **options: Any) -> None:
    """One line of JSON to `stream` (standard output), in ASCII where its encoding lacks a character."""
    out = sys.stdout if stream is None else stream
    text = dumps(value, **{"ensure_ascii": False, **options})
    if not _fits(text, getattr(out, "encoding", None) or "utf-8"):
        text = dumps(value, **{**options, "ensure_ascii": True})
    out.write(text + "\n")


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(float(value))
    if isinstance(value, Mapping):
        return {_finite(key): _finite(part) for key, part in value.items()}
    return [_finite(part) for part in value] if isinstance(value, (list, tuple)) else value


def _fits(text: str, encoding: str) -> bool:
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True
