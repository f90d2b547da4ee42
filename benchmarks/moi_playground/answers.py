"""The tokens in what servers answer: texts, ids and numbers of each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from moi_playground.records import Token

_Told = tuple[Token, str | None]  # a token, and why the text ended with it if it did


def chunk_tokens(chunks: Iterable[Any]) -> Iterator[_Told]:
    """Of a stream of SGLang's /generate, whose chunks hold all that came so far.

    Tokens that come in one chunk have their text at the last of them.
    """
    told, characters = 0, 0
    for chunk in chunks:
        meta, ids, text = chunk["meta_info"], chunk["output_ids"], chunk["text"]
        entropy, intervention = _numbers(meta.get("moi"), len(ids))
        finish = (meta.get("finish_reason") or {}).get("type")
        for index in range(told, len(ids)):
            last = index == len(ids) - 1
            own = Token(text[characters:] if last else "", ids[index], entropy[index], intervention[index])
            yield own, finish if last else None
        if len(ids) > told:
            told, characters = len(ids), len(text)


def whole_tokens(answer: Mapping[str, Any]) -> Iterator[_Told]:
    """Of a completion or chat completion that was asked for logprobs."""
    choice = answer["choices"][0]
    chat = "message" in choice
    logprobs = choice["logprobs"]
    names = [each["token"] for each in logprobs["content"]] if chat else logprobs["tokens"]
    text = _message_text(choice["message"]) if chat else choice["text"]
    listed = (answer.get("kv_transfer_params") or {}).get("moi") or [(choice.get("meta_info") or {}).get("moi")]
    entropy, intervention = _numbers(listed[0], len(names))
    ids = choice.get("token_ids") or [None] * len(names)
    for index, piece in enumerate(pieces(text, [len(name) for name in names])):
        last = index == len(names) - 1
        yield Token(piece, ids[index], entropy[index], intervention[index]), choice["finish_reason"] if last else None


def pieces(text: str, lengths: Sequence[int]) -> Iterator[str]:
    """`text` cut into pieces of these lengths; what is left over belongs to the last."""
    start = 0
    for index, length in enumerate(lengths):
        end = len(text) if index == len(lengths) - 1 else start + length
        yield text[start:end]
        start = end


def _message_text(message: Mapping[str, Any]) -> str:
    thought = message.get("reasoning_content") or message.get("reasoning") or ""
    return f"{thought}{message.get('content') or ''}"


def _numbers(told: Any, count: int) -> tuple[Sequence[float | None], Sequence[float | None]]:
    """Entropy and intervention of each token; None where the server does not tell them."""
    nothing = [None] * count
    if not isinstance(told, Mapping) or "entropy" not in told:
        return nothing, nothing
    return told["entropy"], told["intervention"]
