"""A host of a few lines mixes and replays on moi_serving's public parts: slots, replay buffer, embedding."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import moi
from moi import MoIConfig
from moi_serving.embedding import find_embedding, mixer_of
from moi_serving.mixing_marks import Marks
from moi_serving.replay import RequestState
from moi_serving.row_layout import ids_of, is_due, weights_of
from moi_serving.settings import RequestSettings
from moi_serving.slots import slots_of
from moi_serving.slots.tables import Tables

VOCAB, WIDTH, STEPS, SEED = 60, 8, 6, (1 << 40) + 7
CONFIGS = [
    MoIConfig(top_k=5, beta=0.5),
    MoIConfig("direct", top_k=3),
    MoIConfig("gumbel", top_k=4, tau=2),
    MoIConfig("token"),
]


class ToyHost:
    """Its batch is a list of slots; its model an embedding and a head over the mean of all inputs so far."""

    def __init__(self, config: MoIConfig) -> None:
        self.model = torch.nn.ModuleDict({"wte": torch.nn.Embedding(VOCAB, WIDTH)}).requires_grad_(False)
        self.head = torch.nn.Linear(WIDTH, VOCAB).requires_grad_(False)
        table = find_embedding(self.model, VOCAB)
        self.mixer, self.lookup, self.config = mixer_of(table, table.forward), table.forward, config
        self.slots = slots_of(Tables.allocate(5, config.top_k, "cpu"), config, self.mixer)
        self.state = RequestState(RequestSettings(config), Marks(), SEED)

    def decode(self, prompt: list[int], slot: int) -> tuple[list[int], Tensor]:
        """Greedy tokens, and every input [T,D] they were generated from."""
        at, tokens = torch.tensor([slot]), list[int]()
        words = [self.state.settings_after(prompt, []).words()]
        self.slots.tables.configure(at, torch.tensor(words, dtype=torch.int32))
        inputs = self.lookup(torch.tensor(prompt))
        for _ in range(STEPS):
            logits = self.head(inputs.mean(0, keepdim=True)) * 4
            token, position = logits.argmax(-1), torch.tensor([len(inputs)])
            pending = self.slots.compute(at, logits, torch.ones(1), position)
            self.state.append(self.slots.store(at, pending, token, position, False).numpy(), 0)
            inputs = torch.cat([inputs, self.slots.apply(self.lookup(token), at, token, position)])
            tokens.append(int(token))
        return tokens, inputs

    def replay(self, prompt: list[int], tokens: list[int]) -> Tensor:
        """The inputs of a request that is prefilled again."""
        inputs = self.lookup(torch.tensor([*prompt, *tokens]))
        rows = self.state.rows(0, len(tokens))
        due, kept = torch.from_numpy(is_due(rows)), torch.from_numpy(rows)
        inputs[len(prompt) :][due] = self.mixer(ids_of(kept[due]), weights_of(kept[due]))
        return inputs


@torch.inference_mode()
@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.policy)
def test_a_toy_host_mixes_as_the_op_does_and_replays_what_it_fed(config: MoIConfig) -> None:
    host, prompt = ToyHost(config), [3, 1, 4]
    tokens, inputs = host.decode(prompt, slot=2)
    wanted = host.lookup(torch.tensor(prompt))
    for token in tokens:
        drawn = moi.uniforms(torch.tensor([SEED]), torch.tensor([len(wanted)]), config.top_k)
        logits = host.head(wanted.mean(0, keepdim=True)) * 4
        mixture = moi.mix(logits, torch.tensor([token]), config, uniforms=drawn)
        wanted = torch.cat([wanted, moi.embed(mixture, host.model["wte"].weight)])
    torch.testing.assert_close(inputs, wanted)
    torch.testing.assert_close(host.replay(prompt, tokens), inputs)
    plain = host.lookup(torch.tensor([*prompt, *tokens]))
    assert torch.equal(inputs, plain) == (config.policy == "token")
