"""An endless stream of training batches: fresh traces, grouped by length so that little is padding.

B examples, S longest of them in tokens.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import TypeAlias

import torch
from torch import Tensor

from moi_eval.countdown import problems, traces
from moi_eval.countdown.recipe import Recipe
from moi_eval.countdown.tokenizer import EOS, PAD, vocabulary

IGNORED = -100
POOL = 2000

Ids: TypeAlias = list[int]
Example: TypeAlias = tuple[Ids, Ids]


def stream(recipe: Recipe) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches (input ids [B,S], labels [B,S]), int64; labels of the prompt and of padding are IGNORED."""
    rng = random.Random(recipe.seed)
    ids = {word: index for index, word in enumerate(vocabulary())}
    while True:
        groups = _group([_example(rng, recipe, ids) for _ in range(POOL)], recipe.batch_tokens)
        rng.shuffle(groups)
        yield from (_collate(group, ids[PAD]) for group in groups)


def _example(rng: random.Random, recipe: Recipe, ids: dict[str, int]) -> Example:
    problem = problems.sample(rng, "train", recipe.game)
    output = f"{traces.trace(rng, problem, recipe.search)} {EOS}"
    return [ids[word] for word in problem.prompt.split()], [ids[word] for word in output.split()]


def _length(example: Example) -> int:
    return len(example[0]) + len(example[1])


def _group(pool: list[Example], batch_tokens: int) -> list[list[Example]]:
    """Cut the pool, sorted by length, into groups of at most batch_tokens (at least one example each)."""
    groups: list[list[Example]] = [[]]
    for example in sorted(pool, key=_length):
        if groups[-1] and (len(groups[-1]) + 1) * _length(example) > batch_tokens:
            groups.append([])
        groups[-1].append(example)
    return groups


def _collate(group: list[Example], pad: int) -> tuple[Tensor, Tensor]:
    longest = max(map(_length, group))
    inputs = torch.full((len(group), longest), pad)
    labels = torch.full((len(group), longest), IGNORED)
    for row, (prompt, output) in enumerate(group):
        inputs[row, : len(prompt) + len(output)] = torch.tensor(prompt + output)
        labels[row, len(prompt) : len(prompt) + len(output)] = torch.tensor(output)
    return inputs, labels
