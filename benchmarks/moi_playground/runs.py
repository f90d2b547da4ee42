"""A run: from the values of the page to what it shows, a few times a second."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from moi import MoIConfig
from moi_engines import SamplingParams
from moi_playground import markup, share
from moi_playground.records import Ask, Column, Event, Source

_EVERY_S = 0.1  # between two pictures of a run
STOPPED = "stopped by you"
# What an engine or a server says of a request that it cannot serve, as `moi` itself takes it.
REFUSALS = (ValueError, OSError, RuntimeError, ImportError)


@dataclass
class Picture:
    """What the page shows: both columns, a message ("" for none), and the shared file once there is one."""

    columns: list[Column]
    message: str = ""
    file: Path | None = None


@dataclass
class Runs:
    """The runs of all open pages.

    preset  K, entropy and prior of the mixtures
    folder  where shared files are written, for the caller to remove
    """

    source: Source
    preset: str
    folder: Path
    _running: set[str] = field(default_factory=set)
    _stopped: set[str] = field(default_factory=set)
    _count: int = 0

    def ask(self, prompt: str, chat: bool, sampling: dict[str, Any], policy: str, parameters: dict[str, Any]) -> Ask:
        """What the page's values say; ValueError for what is not allowed."""
        if not prompt.strip():
            raise ValueError("the prompt is empty; write something for the model to go on from")
        chosen = MoIConfig.preset(self.preset, policy=policy, **parameters)
        return Ask(prompt, chat, SamplingParams(**sampling), chosen)

    def stop(self, page: str) -> bool:
        """End the run of a page after the token that is being made; whether there is one."""
        if page in self._running:
            self._stopped.add(page)
        return page in self._running

    def run(self, page: str, ask: Ask) -> Iterator[Picture]:
        """Pictures until the run ends, the last one with the file to share; a refusal is the last one's message."""
        columns = [Column(markup.title(ask.plain)), Column(markup.title(ask.moi))]
        self._stopped.discard(page)
        self._running.add(page)
        message = ""
        try:
            yield Picture(columns)
            yield from self._decode(page, ask, columns)
        except REFUSALS as error:
            message = " ".join(str(error).split())
        finally:
            self._running.discard(page)
        for column in columns:
            if column.finish is None and column.tokens:
                column.finish = STOPPED if page in self._stopped else "broken off"
        yield Picture(columns, message, self._write(ask, columns))

    def _decode(self, page: str, ask: Ask, columns: list[Column]) -> Iterator[Picture]:
        start, shown = time.perf_counter(), 0.0
        with closing(cast(Any, self.source.stream(ask))) as events:
            for event in events:
                now = time.perf_counter()
                _add(columns[event.column], event, now - start)
                if page in self._stopped:
                    return
                if now - shown > _EVERY_S:
                    shown = now
                    yield Picture(columns)

    def _write(self, ask: Ask, columns: list[Column]) -> Path | None:
        if not any(column.tokens for column in columns):
            return None
        self._count += 1
        path = self.folder / str(self._count) / f"moi-{ask.moi.policy}-seed-{ask.sampling.seed}.html"
        path.parent.mkdir()
        path.write_text(share.document(ask, columns, self.source.name, self.source.where), encoding="utf-8")
        return path


def _add(column: Column, event: Event, seconds: float) -> None:
    column.tokens.append(event.token)
    column.seconds = seconds
    column.finish = event.finish
