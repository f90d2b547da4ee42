"""Plain requests to the SGLang of another engine: nothing is mixed, nothing is said of entropy."""

from __future__ import annotations

from typing import Any

from moi_engines.request import Row
from moi_engines.sglang_engine import SGLangEngine


class PlainSGLangEngine(SGLangEngine):
    def __init__(self, mixed: SGLangEngine) -> None:
        vars(self).update(vars(mixed))
        self._mixed = mixed

    def _start(self) -> Any:
        return self._mixed._start()

    def _settings(self, row: Row) -> dict[str, Any]:
        return {"policy": "token"}

    def _report(self, chunk: dict[str, Any]) -> tuple[list[float], list[float]]:
        nothing = [0.0] * len(chunk["output_ids"])
        return nothing, nothing
