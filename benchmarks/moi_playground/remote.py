"""Tokens from a server of SGLang or vLLM with the plugin, asked through the `openai` client.

SGLang's /generate streams, with numbers of each token. Chats, and all of vLLM, tell those only with the whole answer.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator, Mapping
from queue import Empty, SimpleQueue
from typing import Any

from moi_engines.servers import DIALECTS, Pool, Question, Served
from moi_engines.servers.dialects import settings_of
from moi_playground.answers import chunk_tokens, whole_tokens
from moi_playground.records import MIXED, PLAIN, Ask, Event

TIMEOUT_S = 600.0  # until a server's first word
_POLL_S = 0.5  # how often a run that waits looks whether it is to end
_Item = Event | Exception | None  # None: a column has ended


def connect(url: str, model: str | None, kind: str | None) -> RemoteSource:
    """The server at `url`; OSError if it does not answer, ValueError if it does not serve `model`."""

    async def ask() -> tuple[str, Served]:
        async with Pool([url]) as pool:
            return pool.urls[0], await pool.served(model, kind)

    return RemoteSource(*asyncio.run(ask()))


class RemoteSource:
    """A `Source` of one server; each column is a request, both at the same time."""

    chats = True

    def __init__(self, url: str, served: Served) -> None:
        from openai import OpenAI

        self.url, self.served = url, served
        self._closed = False
        self.name, self.where = served.model, f"{served.kind} server at {url}"
        key = os.environ.get("OPENAI_API_KEY", "none")
        self._client = OpenAI(base_url=f"{url}/v1", api_key=key, timeout=TIMEOUT_S, max_retries=0)

    def stream(self, ask: Ask) -> Iterator[Event]:
        """See `Source`."""
        items: SimpleQueue[_Item] = SimpleQueue()
        stop = threading.Event()
        for column, moi in ((PLAIN, ask.plain), (MIXED, ask.moi)):
            settings = {**settings_of(moi, ask.sampling.seed), "per_token": True}
            question = Question(ask.prompt, ask.chat, ask.sampling, settings)
            arguments = (column, question, items, stop)
            threading.Thread(target=self._column, args=arguments, daemon=True).start()
        running = 2
        try:
            while running:
                try:
                    item = items.get(timeout=_POLL_S)
                except Empty:
                    if self._closed:
                        return
                    continue
                if isinstance(item, Exception):
                    raise item
                if item is None:
                    running -= 1
                else:
                    yield item
        finally:
            stop.set()

    def close(self) -> None:
        """See `Source`; a run that waits for the server ends."""
        self._closed = True
        self._client.close()

    def _column(self, column: int, question: Question, items: SimpleQueue[_Item], stop: threading.Event) -> None:
        """Events of one request until it ends or `stop` is set, then None; an error instead of what is missing."""
        try:
            for event in self._events(column, question):
                items.put(event)
                if stop.is_set():
                    break
            items.put(None)
        except (ValueError, OSError, RuntimeError) as error:
            items.put(error)

    def _events(self, column: int, question: Question) -> Iterator[Event]:
        import httpx
        import openai

        path, body = DIALECTS[self.served.kind].request(question, self.served.model)
        url = f"{self.url}/{path}"
        try:
            if path == "generate":
                chunks: Any = self._client.post(
                    url, cast_to=object, body={**body, "stream": True}, stream=True, stream_cls=openai.Stream[object]
                )
                with chunks:
                    yield from _told(column, chunk_tokens(chunks), question)
            else:
                wanted = {"logprobs": True if question.chat else 0, "return_token_ids": self.served.kind == "vllm"}
                answer = self._client.post(url, cast_to=httpx.Response, body={**body, **wanted}).json()
                yield from _told(column, whole_tokens(answer), question)
        except openai.APIStatusError as error:
            raise ValueError(f"{url} refused with {error.status_code}: {_words(error)}") from None
        except (openai.APIError, httpx.HTTPError) as error:  # the latter in the middle of a stream
            raise OSError(f"{url} does not answer: {_words(error)}") from None
        except (KeyError, TypeError, IndexError, AttributeError) as error:
            raise RuntimeError(f"{url} does not answer as {self.served.kind} does: {error!r}") from None


def _told(column: int, tokens: Iterator[Any], question: Question) -> Iterator[Event]:
    """RuntimeError where a request that mixes is answered without numbers: then nothing shows that it was mixed."""
    finish = None
    for token, finish in tokens:
        if question.mixes and token.intervention is None:
            raise RuntimeError("the server tells nothing of mixing: it has no plugin, or a router drops the settings")
        yield Event(column, token, finish)
    if finish is None:
        raise RuntimeError("the server broke the answer off")


def _words(error: Any) -> str:
    body: Any = getattr(error, "body", None)
    said = body.get("message") if isinstance(body, Mapping) else None
    return " ".join(str(said or error).split())[:400]
