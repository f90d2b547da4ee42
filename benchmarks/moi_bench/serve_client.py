"""A load of streamed chats for a server that speaks OpenAI's protocol, so many at a time, and what they took."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from moi_engines.servers import Question
from moi_engines.servers.dialects import Dialect

TIMEOUT_S = 1200.0  # of one request
_WARM_UP = "warm up"


@dataclass(frozen=True)
class Target:
    """A server: the URL of its root, its kind, and what it calls the model."""

    url: str
    dialect: Dialect
    model: str


@dataclass(frozen=True)
class Timing:
    """Of a request: its output tokens, and seconds from sending it to the first and to the last of them."""

    tokens: int
    first: float
    last: float


def load(target: Target, questions: Sequence[Question], concurrency: int) -> dict[str, float]:
    """`figures` of chats, `concurrency` in flight, after one that warms the server up and is not counted.

    Raises RuntimeError unless each request is answered with all its max_new_tokens, of which each asks for two or more.
    """
    return asyncio.run(_load(target, questions, concurrency))


def figures(timings: Sequence[Timing], seconds: float) -> dict[str, float]:
    """tokens_per_s: output tokens over the seconds of the run; ttft_ms, tpot_ms: means over requests, of the
    milliseconds to the first token and of those for each later one.
    """
    later = [(each.last - each.first) / (each.tokens - 1) for each in timings]
    return {
        "tokens_per_s": sum(each.tokens for each in timings) / seconds,
        "ttft_ms": 1e3 * sum(each.first for each in timings) / len(timings),
        "tpot_ms": 1e3 * sum(later) / len(later),
    }


async def _load(target: Target, questions: Sequence[Question], concurrency: int) -> dict[str, float]:
    from openai import AsyncOpenAI

    free = asyncio.Semaphore(concurrency)
    async with AsyncOpenAI(base_url=f"{target.url}/v1", api_key="none", timeout=TIMEOUT_S, max_retries=0) as client:

        async def ask(question: Question) -> Timing:
            async with free:
                return await _ask(client, target, question)

        await ask(replace(questions[0], prompt=_WARM_UP))
        start = time.perf_counter()
        found = await asyncio.gather(*map(ask, questions), return_exceptions=True)
        seconds = time.perf_counter() - start
    if failed := [each for each in found if isinstance(each, BaseException)]:
        raise RuntimeError(f"{len(failed)} of {len(found)} requests failed, the first: {failed[0]}")
    return figures([each for each in found if isinstance(each, Timing)], seconds)


async def _ask(client: Any, target: Target, question: Question) -> Timing:
    """One chat. Both hosts begin a stream with the role when the first token is there; its text may come later."""
    import httpx
    import openai

    wanted, tokens, first, last = question.sampling.max_new_tokens, 0, 0.0, 0.0
    # Chunks as plain objects take 10 us each; made into the library's classes, 140.
    kinds = {"cast_to": object, "stream_cls": openai.AsyncStream[object], "stream": True}
    start = time.perf_counter()
    try:
        async with await client.post("/chat/completions", body=_body(target, question), **kinds) as chunks:
            async for chunk in chunks:
                if chunk["choices"]:
                    last = time.perf_counter() - start
                    first = first or last
                tokens = (chunk.get("usage") or {}).get("completion_tokens", tokens)
    except (openai.APIError, httpx.HTTPError) as error:  # the latter in the middle of a stream
        raise RuntimeError(" ".join(str(error).split())[:300]) from None
    except (KeyError, TypeError, ValueError) as error:
        raise RuntimeError(f"{target.url} does not stream chats as {target.dialect.name} does: {error!r}") from None
    if tokens < wanted:
        raise RuntimeError(f"{tokens} of {wanted} tokens came")
    return Timing(tokens, first, last)


def _body(target: Target, question: Question) -> dict[str, Any]:
    """Without the seed: rows that have one take a slower path in both hosts."""
    sampling = question.sampling
    return {
        "model": target.model,
        "messages": [{"role": "user", "content": question.prompt}],
        "max_tokens": sampling.max_new_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "ignore_eos": sampling.ignore_eos,
        "stream": True,
        "stream_options": {"include_usage": True},
        **target.dialect.fields(question.settings),
    }
