"""What rows of each kind must hold before anything is made of them. Paths go into nested objects: "case.name"."""

from __future__ import annotations

import math
from typing import Any

from moi_bench.rows import Row

_SPREADS = [
    *(f"{side}.{key}.median" for side in ("plain", "moi") for key in ("tokens_per_s", "ttft_ms", "tpot_ms")),
    *(f"ratio.{key}" for key in ("median", "p10", "p90")),
]
_TEXTS: dict[str, list[str]] = {
    "environment": [],
    "op": ["implementation", "status", "case.name", "case.dtype", "case.preset"],
    "engine": ["engine", "status", "case.name", "case.model"],
    "serve": ["engine", "status", "case.name", "case.model"],
    "sglang": ["shape"],
    "host": ["piece"],
    "onnx": ["measure"],
}
# Above zero, of rows whose status is "ok" or that have none.
_NUMBERS: dict[str, list[str]] = {
    "environment": [],
    "op": [
        *(f"case.{key}" for key in ("rows", "vocab", "width")),
        *("median_us", "p10_us", "p90_us", "ratio_to_floor", "copy_bandwidth"),
    ],
    "engine": [*(f"case.{key}" for key in ("batch", "context", "new_tokens", "vocab")), *_SPREADS],
    "serve": [*(f"case.{key}" for key in ("share", "concurrency", "prompt_words", "new_tokens")), *_SPREADS],
    "sglang": ["batch", "tokens_per_second.plain", "tokens_per_second.moi", "ratio", "ratio_p10", "ratio_p90"],
    "host": ["batch"],
    "onnx": [],
}
# Of engines that were measured beside transformers' generate.
_BESIDE_TRANSFORMERS = [
    "transformers.tokens_per_s.median",
    *(f"ratio_to_transformers.{side}.{key}" for side in ("plain", "moi") for key in ("median", "p10", "p90")),
]
_OF_ANY_SIGN: dict[str, list[str]] = {"sglang": ["added_us"], "host": ["median_us"]}


def check(row: Row, kind: str, where: str) -> None:
    """ValueError that names the row and the field that is missing or of another type."""
    for path in ("device", "command", *_TEXTS[kind]):
        _want(isinstance(_get(row, path, where), str), row, path, "text", where)
    _want(isinstance(_get(row, "versions", where), dict), row, "versions", "an object", where)
    if row.get("status", "ok") != "ok":
        _want(isinstance(_get(row, "reason", where), str), row, "reason", "text", where)
        return
    beside = _BESIDE_TRANSFORMERS if kind == "engine" and "transformers" in row else []
    for path in (*_NUMBERS[kind], *beside):
        _want(_is_number(_get(row, path, where), 0), row, path, "a number above 0", where)
    for path in _OF_ANY_SIGN.get(kind, []):
        _want(_is_number(_get(row, path, where), -math.inf), row, path, "a number", where)


def _is_number(value: Any, above: float) -> bool:
    return isinstance(value, (int, float)) and above < value < math.inf


def _want(fits: bool, row: Row, path: str, words: str, where: str) -> None:
    if not fits:
        raise ValueError(f"{where} has {path}={_get(row, path, where)!r}; it must be {words}")


def _get(row: Row, path: str, where: str) -> Any:
    found: Any = row
    for key in path.split("."):
        if not isinstance(found, dict) or key not in found:
            raise ValueError(f"{where} lacks {path!r}; rows are read as moi bench writes them")
        found = found[key]
    return found
