"""The two marks around a model's thinking, as SGLang knows them."""

from __future__ import annotations

from typing import Any

from moi_serving.mixing_marks import Marks
from moi_serving.settings import THINK_END, RequestSettings
from moi_serving.slots.tables import NO_TOKEN


class Thinking:
    """The marks of a scheduler's model, looked up once."""

    def __init__(self) -> None:
        self._marks: Marks | None = None

    def marks(self, settings: RequestSettings, scheduler: Any) -> Marks:
        """Of a request; ValueError if it is to mix until the end of thinking, and no single token ends that."""
        if not settings.mixes or settings.until is None:
            return Marks()
        if settings.until != THINK_END:
            return Marks(int(settings.until))
        if self._marks is None:
            self._marks = _marks_of(scheduler)
        return self._marks


def _marks_of(scheduler: Any) -> Marks:
    start, end = _texts(scheduler)
    ids = scheduler.model_config.think_end_ids or _encoded(end, scheduler)
    if len(ids) != 1:
        raise ValueError(
            f"until={THINK_END!r} needs a model whose thinking ends with one token "
            "(--reasoning-parser names it, else '</think>'); give its token id instead"
        )
    begins = _encoded(start, scheduler)
    return Marks(int(ids[0]), int(begins[0]) if len(begins) == 1 else NO_TOKEN)


def _texts(scheduler: Any) -> tuple[str, str]:
    """What begins and what ends the model's thinking."""
    from sglang.srt.parser.reasoning_parser import ReasoningParser
    from sglang.srt.runtime_context import get_serving

    name = get_serving().reasoning_parser
    if not name or scheduler.tokenizer is None:
        return "<think>", "</think>"

    detector = ReasoningParser(model_type=name, stream_reasoning=False, tokenizer=scheduler.tokenizer).detector
    return detector.think_start_token, detector.think_end_token


def _encoded(text: str, scheduler: Any) -> list[int]:
    tokenizer = scheduler.tokenizer
    return [] if tokenizer is None else list(tokenizer.encode(text, add_special_tokens=False))
