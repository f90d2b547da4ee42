"""Countdown problems: numbers and a target they can reach, in two sizes; a tenth of the multisets is held out."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass
from functools import cache
from itertools import combinations_with_replacement
from typing import Literal, TypeAlias

from moi_eval.countdown.rules import LARGEST, Numbers, attempts_by_value, check_range

Split: TypeAlias = Literal["train", "held_out"]
SPLITS: tuple[Split, ...] = ("train", "held_out")


@dataclass(frozen=True, slots=True)
class Game:
    """A size of the puzzle: how many numbers are given, each in 1..highest."""

    count: int
    highest: int

    def __post_init__(self) -> None:
        check_range("count", self.count, 2, 4)
        check_range("highest", self.highest, 1, LARGEST)


COUNTDOWN_3 = Game(count=3, highest=20)
COUNTDOWN_4 = Game(count=4, highest=10)
GAMES = {game.count: game for game in (COUNTDOWN_3, COUNTDOWN_4)}


@dataclass(frozen=True, slots=True)
class Problem:
    """Numbers in the order they are shown, and the target. Values are in 1..99; ValueError otherwise."""

    numbers: Numbers
    target: int

    def __post_init__(self) -> None:
        check_range("how many numbers", len(self.numbers), 2, 4)
        for number in self.numbers:
            check_range("number", number, 1, LARGEST)
        check_range("target", self.target, 1, LARGEST)

    @property
    def prompt(self) -> str:
        """What the model reads: `18 7 7 > 67 :`."""
        return f"{' '.join(map(str, self.numbers))} > {self.target} :"

    @property
    def multiset(self) -> Numbers:
        """The numbers in rising order."""
        return tuple(sorted(self.numbers))

    @classmethod
    def parse(cls, prompt: str) -> Problem:
        """The problem a prompt states; ValueError where it is not of the form `18 7 7 > 67 :`."""
        match prompt.split():
            case [*numbers, ">", target, ":"] if all(map(_is_integer, [*numbers, target])):
                return cls(tuple(map(int, numbers)), int(target))
        raise ValueError(f"prompt={prompt!r} is not a Countdown problem; write it as '18 7 7 > 67 :'")


def is_held_out(numbers: Numbers) -> bool:
    """Whether a multiset belongs to the held-out tenth; a digest decides, so no seed or Python version can move it."""
    digest = hashlib.sha256(repr(tuple(sorted(numbers))).encode()).digest()
    return int.from_bytes(digest[:8], "big") % 10 == 0


@cache
def multisets(split: Split, game: Game = COUNTDOWN_3) -> tuple[Numbers, ...]:
    """Every multiset of numbers in a split that can reach some target, in a fixed order."""
    if split not in SPLITS:
        raise ValueError(f"split={split!r} is not allowed; split must be one of {', '.join(SPLITS)}")
    everything = combinations_with_replacement(range(1, game.highest + 1), game.count)
    return tuple(m for m in everything if is_held_out(m) == (split == "held_out") and attempts_by_value(m))


def sample(rng: random.Random, split: Split, game: Game = COUNTDOWN_3) -> Problem:
    """A random problem: uniform over multisets, then over the targets they reach, then over the order shown."""
    multiset = rng.choice(multisets(split, game))
    target = rng.choice(tuple(attempts_by_value(multiset)))
    return Problem(tuple(rng.sample(multiset, len(multiset))), target)


def held_out(n: int, seed: int = 0, game: Game = COUNTDOWN_3) -> list[Problem]:
    """n different held-out problems (no multiset and target twice); ValueError where there are fewer than n."""
    available = sum(len(attempts_by_value(m)) for m in multisets("held_out", game))
    check_range("n", n, 0, available)
    rng, found = random.Random(seed), dict[tuple[Numbers, int], Problem]()
    while len(found) < n:
        problem = sample(rng, "held_out", game)
        found.setdefault((problem.multiset, problem.target), problem)
    return list(found.values())


def _is_integer(word: str) -> bool:
    return word.isascii() and word.isdigit()
