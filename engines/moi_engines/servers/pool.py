"""Several servers of one model as one: requests go to whoever has the fewest, and to another when one fails."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from moi_engines.servers.dialects import DIALECTS, Answer, Dialect, Question

TIMEOUT_S = 3600.0  # of one request: long texts of slow models
PATIENCE_S = 60.0
_REST_S = 2.0  # a server that failed is left alone for so long
_CONNECT_S = 20.0
_POLL_S = 0.2
_BROKEN_OFF = ("abort", "error")  # how a text ends when its server goes down, or dropped it


@dataclass(frozen=True)
class Served:
    """What servers say of themselves: the model's name, and the kind of server, a key of `DIALECTS`."""

    model: str
    kind: str


@dataclass
class _Server:
    url: str
    client: Any
    running: int = 0
    rests_until: float = 0.0
    answered: bool = False
    failure: str = field(default="", repr=False)

    def rest(self, failure: str) -> None:
        """It cannot answer now."""
        self.failure, self.rests_until = failure, time.monotonic() + _REST_S


class Pool:
    """An asynchronous context manager; asks the servers at `urls`.

    urls        of their roots, with or without /v1
    patience_s  for how long a request waits to be tried again, on any server, after 429, 5xx and broken connections,
                and after 404 where it was answered before; the time that tries take does not count

    The key that servers may want is read from the environment variable OPENAI_API_KEY when the pool is entered.
    Raises ValueError for addresses that are none or stand there twice, ImportError without the openai library.
    """

    def __init__(self, urls: Sequence[str], *, patience_s: float = PATIENCE_S, timeout_s: float = TIMEOUT_S) -> None:
        self.urls = [root(url) for url in urls]
        if not urls or len(set(self.urls)) < len(self.urls):
            raise ValueError(f"servers={', '.join(self.urls) or 'none'} is not allowed; each must stand there once")
        self._patience, self._timeout = patience_s, timeout_s
        self._servers: list[_Server] = []

    async def __aenter__(self) -> Pool:
        import httpx
        from openai import AsyncOpenAI

        key, timeout = os.environ.get("OPENAI_API_KEY", "none"), httpx.Timeout(self._timeout, connect=_CONNECT_S)
        for url in self.urls:
            client = AsyncOpenAI(base_url=f"{url}/v1", api_key=key, timeout=timeout, max_retries=1)
            self._servers.append(_Server(url, client))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for server in self._servers:
            await server.client.close()
        self._servers.clear()

    async def served(self, model: str | None = None, kind: str | None = None) -> Served:
        """Model and kind, where they are not given: what all servers say; ValueError if they say different things,
        or what this project does not know, OSError for a server that does not answer.
        """
        found = {server.url: await _ask_models(server) for server in self._servers}
        names = {url: model or said[0]["id"] for url, said in found.items()}
        for url, said in found.items():
            if names[url] not in (ids := [each["id"] for each in said]):
                raise ValueError(f"{url} does not serve {names[url]!r}; it has {', '.join(ids)}")
        owners = {url: kind or said[0].get("owned_by") for url, said in found.items()}
        for what, values in (("models", names), ("kinds", owners)):
            if len(set(values.values())) > 1:
                told = "; ".join(f"{url}: {value}" for url, value in values.items())
                raise ValueError(f"the servers are of different {what} ({told}); evaluate one at a time")
        owner = owners[self.urls[0]]
        for each in DIALECTS.values():
            if owner in (each.name, each.owned_by):
                return Served(names[self.urls[0]], each.name)
        raise ValueError(
            f"{self.urls[0]} is a server of {owner!r}; --server-kind says which it is: {', '.join(DIALECTS)}"
        )

    async def ask(self, question: Question, served: Served, *, only: str | None = None) -> Answer:
        """The answer to one question, from the server at `only` or from any.

        Raises ValueError for a request that a server refuses (4xx), RuntimeError for an answer that is none of its
        kind, OSError when every try failed until it had waited for `patience_s`.
        """
        dialect, waited = DIALECTS[served.kind], 0.0
        while True:
            server = self._pick(only)
            if server is not None:
                answer = await _ask(server, dialect, question, served.model)
                if answer is not None:
                    return answer
            if waited >= self._patience:
                told = "; ".join(f"{each.url}: {each.failure}" for each in self._servers if each.failure)
                raise OSError(f"no server answered for {self._patience:g} s ({told})")
            start = time.monotonic()
            await asyncio.sleep(_POLL_S)
            waited += time.monotonic() - start

    def _pick(self, only: str | None) -> _Server | None:
        """The server with the fewest requests, of those that did not fail just now."""
        now = time.monotonic()
        free = [each for each in self._servers if each.rests_until <= now and only in (None, each.url)]
        return min(free, key=lambda each: each.running, default=None)


def root(url: str) -> str:
    """A server's root without /v1 and slashes at the end; ValueError for what is no http address."""
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # its brackets, or a port that is no number or above 65535
        good = False
    if not good:
        raise ValueError(f"server={url!r} is not allowed; it must be an address such as http://127.0.0.1:30000")
    return url.rstrip("/").removesuffix("/v1").rstrip("/")


async def _ask(server: _Server, dialect: Dialect, question: Question, model: str) -> Answer | None:
    """None if the server cannot answer now: it is full, it broke, or the connection to it did."""
    import httpx
    import openai

    path, body = dialect.request(question, model)
    server.running += 1
    try:
        response = await server.client.post(f"{server.url}/{path}", cast_to=httpx.Response, body=body)
    except (openai.APIConnectionError, openai.RateLimitError, openai.InternalServerError) as error:
        server.rest(_reason(error))
        return None
    except openai.APIStatusError as error:
        if error.status_code == 404 and server.answered:  # a router that was started again knows no servers yet
            server.rest(_reason(error))
            return None
        raise ValueError(f"{server.url}/{path} refused a request with {error.status_code}: {_reason(error)}") from None
    finally:
        server.running -= 1
    try:
        answer = dialect.answer(response.json())  # whatever its content type: routers change that
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise RuntimeError(f"{server.url}/{path} does not answer as {dialect.name} does: {error!r}") from None
    if answer.finish in _BROKEN_OFF:
        server.rest(f"ended a text with {answer.finish!r}")
        return None
    if answer.tokens < 1:
        raise RuntimeError(f"{server.url}/{path} says that it generated {answer.tokens} tokens")
    server.answered = True
    return answer


async def _ask_models(server: _Server) -> list[dict[str, Any]]:
    import httpx
    import openai

    try:
        response = await server.client.get("/models", cast_to=httpx.Response)
    except openai.APIError as error:
        raise OSError(f"{server.url} does not answer: {_reason(error)}") from None
    try:
        models: list[dict[str, Any]] = response.json()["data"]
        if models and all("id" in each for each in models):
            return models
    except (ValueError, KeyError, TypeError):
        pass
    raise RuntimeError(f"{server.url}/v1/models names no model: {response.text[:200]}")


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:400]
