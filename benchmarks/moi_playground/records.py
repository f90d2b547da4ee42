"""What the page keeps of a run: a record per token, a column of them, and what was asked for."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from moi import MoIConfig
from moi_engines import SamplingParams

PLAIN, MIXED = 0, 1  # the columns


@dataclass(frozen=True, slots=True)
class Token:
    """One generated token.

    text          what it adds to the text; may be empty
    token_id      None where a server does not tell it
    entropy       H of the distribution it was sampled from, 0..1; None where a server does not tell it
    intervention  share of the next input that is not this token, 0..1; None where a server does not tell it
    """

    text: str
    token_id: int | None
    entropy: float | None
    intervention: float | None

    @property
    def mixed(self) -> bool:
        """Whether what follows it in the input is more than the token alone."""
        return bool(self.intervention)


class Event(NamedTuple):
    """A token of a column (PLAIN or MIXED), and why the column ended if it did."""

    column: int
    token: Token
    finish: str | None


@dataclass(frozen=True)
class Ask:
    """One run: the prompt, whether the model's chat template goes around it, and how to decode it."""

    prompt: str
    chat: bool
    sampling: SamplingParams
    moi: MoIConfig

    @property
    def plain(self) -> MoIConfig:
        """Of the column beside it."""
        return self.moi.replace(policy="token")


class Source(Protocol):
    """Where tokens come from.

    name   of the model, for people
    where  the engine or server, for people
    chats  whether `Ask.chat` may be true
    """

    name: str
    where: str
    chats: bool

    def stream(self, ask: Ask) -> Iterator[Event]:
        """Tokens of both columns as they come; ValueError, OSError or RuntimeError, in one line, for what cannot be."""
        ...

    def close(self) -> None:
        """Give back what it holds."""
        ...


@dataclass
class Column:
    """The tokens of a column so far; seconds until the last of them, since the run began."""

    title: str
    tokens: list[Token] = field(default_factory=list)
    finish: str | None = None
    seconds: float = 0.0

    @property
    def text(self) -> str:
        """Of all tokens."""
        return "".join(token.text for token in self.tokens)

    @property
    def rate(self) -> float:
        """Tokens per second; 0 of none."""
        return len(self.tokens) / self.seconds if self.seconds > 0 else 0.0

    @property
    def mean_entropy(self) -> float | None:
        """Over the tokens of which it is known, 0..1; None of none."""
        known = [token.entropy for token in self.tokens if token.entropy is not None]
        return math.fsum(known) / len(known) if known else None

    @property
    def mixed_share(self) -> float:
        """Of the tokens, 0..1; 0 of none."""
        return sum(token.mixed for token in self.tokens) / len(self.tokens) if self.tokens else 0.0
