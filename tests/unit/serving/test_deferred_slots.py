"""Mixtures that are stored before their tokens are known equal those that are made with them."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from moi import MoIConfig, RowParams, embed, load_policies, mix, uniforms
from moi.rows import encode, policy_layout
from moi_serving.slots.tables import SlotSettings, Tables
from moi_tensorrt_llm.deferred_slots import DeferredSlots

V, D, K = 40, 6, 5
CONFIGS = [MoIConfig(policy.name, top_k=K) for policy in load_policies()]


@pytest.fixture
def generator(base_seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(base_seed)


def _words(config: MoIConfig, seed: int) -> list[int]:
    codes, values = encode([config], policy_layout())
    return SlotSettings(codes[0], seed=seed, parameters=values[0]).words()


@pytest.mark.parametrize("depth", [1, 3])
def test_whatever_token_comes_the_mixture_is_the_one_made_with_it(generator: torch.Generator, depth: int) -> None:
    moi, rows = MoIConfig(top_k=K), len(CONFIGS)
    tables = Tables.allocate(rows + 1, K, "cpu", depth)
    slots = torch.arange(1, rows + 1)
    seeds = torch.randint(2**62, (rows,), generator=generator)
    words = [_words(config, int(seed)) for config, seed in zip(CONFIGS, seeds, strict=True)]
    tables.configure(slots, torch.tensor(words, dtype=torch.int32))
    deferred, table = DeferredSlots(tables, moi), torch.randn(V, D, generator=generator)

    def lookup(ids: torch.Tensor) -> torch.Tensor:
        return functional.embedding(ids, table)

    position, first, kept = torch.randint(3, 50, (rows,), generator=generator), torch.zeros(rows, dtype=torch.int64), []
    for _ in range(depth):
        logits, token = torch.randn(rows, V, generator=generator) * 3, torch.randint(V, (rows,), generator=generator)
        token[::2] = logits[::2].argmax(-1)  # candidates, too
        deferred.store(slots, deferred.compute(slots, logits, torch.ones(rows), position), position)
        params = RowParams.of(CONFIGS, [1.0] * rows)._replace(uniforms=uniforms(seeds, position, K))
        kept.append((token, position, embed(mix(logits, token, moi, **params._asdict()), table)))
        position = position + 1
    for token, at, expected in kept:
        x = lookup(token)
        found = deferred.apply(x, lookup, slots, token, at, first)
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)
        assert torch.equal(found[0], x[0]), "the policy that mixes nothing"
        assert not torch.equal(found, x)
        for elsewhere in (at + depth, at - depth):
            assert torch.equal(deferred.apply(x, lookup, slots, token, elsewhere, first), x)
        assert torch.equal(deferred.apply(x, lookup, slots, token, at, at + 1), x), "of the prompt"
        assert torch.equal(deferred.apply(x, lookup, torch.zeros_like(slots), token, at, first), x), "padding"
