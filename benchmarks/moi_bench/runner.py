"""What benchmarks share: sides in turn, medians and deciles, and rows that are on disk as soon as they are measured."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import torch

from moi_bench.rows import Row, write
from moi_bench.timer import summarise
from moi_eval.environment import environment, version

Name = TypeVar("Name")
Found = TypeVar("Found")
TOKENS = "tokens_per_s"


def shared(device: torch.device, *libraries: str) -> Row:
    """What all rows of a run say: the environment, and the versions of more libraries."""
    found = environment(device)
    return {**found, "versions": {**found["versions"], **{name: version(name) for name in libraries}}}


def turns(sides: Mapping[Name, Callable[[int], Found]], count: int, *, warm_up: bool = True) -> dict[Name, list[Found]]:
    """What each side found in each of `count` turns, so that a machine that slows down slows all of them.

    A side is called with the number of its turn. Who begins alternates. With `warm_up` a turn 0 comes first, whose
    results are dropped.
    """
    runs: dict[Name, list[Found]] = {name: [] for name in sides}
    for turn in range(0 if warm_up else 1, count + 1):
        for name in list(sides)[:: -1 if turn % 2 else 1]:
            found = sides[name](turn)
            if turn:
                runs[name].append(found)
    return runs


def spread(samples: Sequence[float]) -> dict[str, float]:
    """Median and deciles, as rows hold them."""
    return dict(zip(("median", "p10", "p90"), summarise(samples), strict=True))


def spreads(runs: Sequence[Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """The spread of every figure of a side over its turns."""
    return {key: spread([run[key] for run in runs]) for key in runs[0]}


def ratio(ours: Sequence[Mapping[str, float]], theirs: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The spread of our output tokens/s against theirs, taken within each turn, and the number of turns."""
    each = [mine[TOKENS] / other[TOKENS] for mine, other in zip(ours, theirs, strict=True)]
    return {**spread(each), "turns": len(each)}


def record(rows: Iterable[Row], out: Path | None, log: Callable[[Row], None] = lambda row: None) -> list[Row]:
    """All rows; those so far are written to `out` and the newest handed to `log` as each is measured."""
    done = list[Row]()
    for row in rows:
        done.append(row)
        write(out, done)
        log(row)
    return done
