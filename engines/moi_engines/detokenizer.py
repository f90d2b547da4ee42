"""Text of a growing list of token ids, piece by piece, equal in the end to decoding all of them at once.

A decoder of the `tokenizers` library looks at few tokens at a time: the first (leading spaces), runs of byte
tokens, bytes of one character. So a window of the last tokens is decoded, never the whole text, and what a
later token may still change waits. Decoders that are not known to work like this are read once, at the end.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

# UTF-8 is in step again after three bytes, rules about the first token are past after one.
_CONTEXT = 4
_LONGEST = 16  # tokens of a window, if nothing waits
_BYTE = re.compile(r"<0x..>", re.DOTALL)
# What transformers' clean_up_tokenization replaces, one after the other.
_CLEANUP = (
    *((" .", "."), (" ?", "?"), (" !", "!"), (" ,", ","), (" ' ", "'"), (" n't", "n't")),
    *((" 'm", "'m"), (" 's", "'s"), (" 've", "'ve"), (" 're", "'re")),
)


@dataclass(frozen=True)
class Rules:
    """What a decoder does beyond its own tokens.

    is_utf8   the text is made of bytes: an incomplete character at the end waits for its rest
    has_runs  a run of byte tokens is one text or, if any of it is no UTF-8, all U+FFFD: it waits for its end
    strips    leading characters of the whole text are cut off
    suffix    of a word's last token, read otherwise at the end of the text
    """

    is_utf8: bool = False
    has_runs: bool = False
    strips: bool = False
    suffix: str = ""


class Detokenizer:
    """pieces of `push`, joined, + `rest()` == tokenizer.decode(all ids, skip_special_tokens=True)."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer, self._backend = tokenizer, tokenizer.backend_tokenizer
        self._rules = _rules(tokenizer)
        self._window: list[int] = []
        self._told = 0  # characters of the window's text that are known to the caller
        self._cleanup = [""] * len(_CLEANUP) if _cleans(tokenizer) else []
        self.waiting = 0  # tokens since text came out

    def push(self, token_id: int) -> str:
        """The text that is certain now and was not before."""
        token = self._backend.id_to_token(token_id)
        if not token or self.special(token_id):
            return ""
        self._window.append(token_id)
        self.waiting += 1
        if self._rules is None or self._is_open(token):
            return ""
        certain = self._certain(self._decode(self._window))
        new, self._told = certain[self._told :], len(certain)
        if new:
            self.waiting = 0
        if len(self._window) > _LONGEST:
            self._shorten()
        if self._cleanup:
            new, self._cleanup = _clean(self._cleanup, new, end=False)
        return new

    def rest(self) -> str:
        """What is missing if no more tokens come; changes nothing."""
        if self._rules is None:
            text: str = self._tokenizer.decode(self._window, skip_special_tokens=True)
            return text
        text = self._decode(self._window)[self._told :]
        return _clean(self._cleanup, text, end=True)[0] if self._cleanup else text

    def special(self, token_id: int) -> str:
        """The text of a token that decoding leaves out, "" for any other."""
        twice = [token_id, token_id]  # once, a leading space would be lost either way
        if self._backend.decode(twice, skip_special_tokens=False) == self._decode(twice):
            return ""
        return str(self._backend.id_to_token(token_id))

    def _decode(self, ids: list[int]) -> str:
        return str(self._backend.decode(ids, skip_special_tokens=True))

    def _certain(self, text: str) -> str:
        assert self._rules is not None
        return text[:-1] if self._rules.is_utf8 and text.endswith("\ufffd") else text

    def _is_open(self, token: str) -> bool:
        """Whether the token after this one decides how it reads."""
        assert self._rules is not None
        if self._rules.has_runs and _BYTE.fullmatch(token):
            return True
        suffix = self._rules.suffix
        return bool(suffix) and token.find(suffix) not in (-1, len(token) - len(suffix))

    def _shorten(self) -> None:
        assert self._rules is not None
        window = self._window[-_CONTEXT:]
        text = self._decode(window)
        if text or not self._rules.strips:
            self._window, self._told = window, len(self._certain(text))


def overlap(text: str, word: str) -> int:
    """Length of the longest end of `text` that begins `word` without completing it."""
    return next((n for n in range(min(len(text), len(word) - 1), 0, -1) if text.endswith(word[:n])), 0)


def _clean(held: list[str], text: str, *, end: bool) -> tuple[str, list[str]]:
    """`text` after all of _CLEANUP, and what each replacement holds back as the beginning of a match."""
    left = []
    for (old, new), waiting in zip(_CLEANUP, held, strict=True):
        *done, tail = (waiting + text).split(old)
        sure = len(tail) - (0 if end else overlap(tail, old))
        left.append(tail[sure:])
        text = new.join([*done, tail[:sure]])
    return text, left


def _cleans(tokenizer: Any) -> bool:
    """Whether `decode` cleans up spaces: as transformers, which leaves BPE alone."""
    forced = "clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output"
    is_bpe = type(tokenizer.backend_tokenizer.model).__name__ == "BPE"
    return bool(tokenizer.clean_up_tokenization_spaces) and (not is_bpe or bool(getattr(tokenizer, forced, False)))


def _rules(tokenizer: Any) -> Rules | None:
    """None if the text of some tokens may depend on others far away."""
    from transformers import PreTrainedTokenizerFast

    for name in ("decode", "_decode", "clean_up_tokenization"):
        if getattr(type(tokenizer), name, None) is not getattr(PreTrainedTokenizerFast, name, None):
            return None
    decoder = tokenizer.backend_tokenizer.decoder
    steps = [] if decoder is None else _flat(json.loads(decoder.__getstate__()))
    kinds = [step["type"] for step in steps]
    joint = next((i for i, kind in enumerate(kinds) if kind in ("Fuse", "ByteLevel")), len(kinds))
    before, after = steps[:joint], steps[joint + 1 :]
    is_utf8 = kinds[joint : joint + 1] == ["ByteLevel"]
    if not _reads_tokens(before) or not all(map(_reads_characters, after)) or (is_utf8 and before):
        return None
    suffix = next((step["suffix"] for step in before if step["type"] == "BPEDecoder"), "")
    return Rules(is_utf8, "ByteFallback" in kinds, any(step["type"] == "Strip" for step in after), suffix)


def _flat(step: dict[str, Any]) -> list[dict[str, Any]]:
    return [leaf for part in step["decoders"] for leaf in _flat(part)] if step["type"] == "Sequence" else [step]


def _reads_tokens(steps: list[dict[str, Any]]) -> bool:
    """Whether steps before the tokens are joined look at one token, its place and, for bytes, its run."""
    kinds = [step["type"] for step in steps]
    if not {*kinds} <= {"Replace", "Strip", "Metaspace", "WordPiece", "BPEDecoder", "ByteFallback"}:
        return False
    if "BPEDecoder" in kinds and len(kinds) > 1:  # it looks at the last token
        return False
    bytes_at = kinds.index("ByteFallback") if "ByteFallback" in kinds else 0
    return all(_spares_bytes(step) for step in steps[:bytes_at])


def _spares_bytes(step: dict[str, Any]) -> bool:
    """Whether a step makes no byte token of another and no other of one."""
    if step["type"] == "Metaspace":
        return bool(step["replacement"] == "▁")
    return bool(step["type"] == "Replace" and step["pattern"] == {"String": "▁"} and step["content"] == " ")


def _reads_characters(step: dict[str, Any]) -> bool:
    """Whether a step on the whole text looks at single characters, or only at its beginning."""
    if step["type"] == "Replace":
        pattern = step["pattern"].get("String", "")
        return len(pattern) == 1 and "\ufffd" not in pattern + step["content"]
    return bool(step["type"] == "Fuse" or (step["type"] == "Strip" and step["stop"] == 0))
