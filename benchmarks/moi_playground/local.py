"""Tokens from an engine in this process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from moi_engines import Engine
from moi_engines.chat import chat_prompt
from moi_engines.protocol import Prompt
from moi_playground.records import Ask, Event, Token


class LocalSource:
    """A `Source` of an engine: both columns are rows of one call, from the same noise."""

    def __init__(self, engine: Engine, name: str) -> None:
        self.engine, self.name, self.where = engine, name, f"{engine.name} engine"
        self.chats = bool(getattr(engine.tokenizer, "chat_template", None))

    def stream(self, ask: Ask) -> Iterator[Event]:
        """See `Source`."""
        prompt: Prompt = chat_prompt(self.engine.tokenizer, ask.prompt).ids if ask.chat else ask.prompt
        rows: Sequence[Prompt] = [prompt, prompt]
        for event in self.engine.stream(rows, [ask.sampling] * 2, [ask.plain, ask.moi]):
            token = Token(event.text, event.token_id, event.entropy, event.intervention)
            yield Event(event.row, token, event.finish_reason)

    def close(self) -> None:
        """See `Source`."""
        self.engine.close()
