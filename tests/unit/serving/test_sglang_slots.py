"""Slots on every device: mixtures are left in the tables as documented, and arrive where they are due."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import moi
from moi import MoIConfig
from moi.pending import PendingMixture
from moi.rows import parameter_count
from moi_serving.embedding import TableMixer
from moi_serving.row_layout import NO_TOKEN, NOT_DUE, entropy_of, ids_of, position_of, weights_of
from moi_serving.settings import RequestSettings
from moi_serving.slots import slots_of
from moi_serving.slots.base import Slots
from moi_serving.slots.cpu import CPUSlots
from moi_serving.slots.cuda import GPUSlots
from moi_serving.slots.tables import Tables

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
ROWS, SLOTS, GATE, VOCAB, WIDTH = 5, 9, 41, 300, 24
AT = [3, 1, 8, 5, 2]
BETA = [0.5, 1.0, 1.0, 2.0, torch.inf]
POLICY = [1, 0, 2, 1, 1]
POSITION = [30, 31, 32, 33, 34]
VARIANTS = [Slots, GPUSlots] if DEVICE.type == "cuda" else [Slots, CPUSlots, GPUSlots]  # that one interpreted


class Step:
    """One step of requests in slots of no order; one samples its gate, another one's gate is sampled by none."""

    def __init__(self, variant: type[Slots], config: MoIConfig, integers: torch.dtype = torch.int64) -> None:
        if variant is GPUSlots:
            pytest.importorskip("triton", reason="Triton is not installed; pip install mixture-of-inputs[triton]")
        generator = torch.Generator().manual_seed(config.top_k)
        self.config, self.at = config, torch.tensor(AT, device=DEVICE)
        self.embedding = torch.nn.Embedding(VOCAB, WIDTH).requires_grad_(False).to(DEVICE)
        self.logits = (torch.randn(ROWS, VOCAB, generator=generator) * 3).to(DEVICE)
        self.temperature = torch.tensor([0.6, 1.0, 1.3, 0.9, 1.0], device=DEVICE)
        tables = Tables.allocate(SLOTS, config.top_k, DEVICE)
        tables.policy[self.at] = torch.tensor(POLICY, dtype=torch.int32, device=DEVICE)
        tables.parameters[self.at, 0] = torch.tensor(BETA, device=DEVICE)
        tables.parameters[self.at, -1] = 1  # max_entropy
        gates = torch.tensor([GATE, NO_TOKEN, NO_TOKEN, 7, GATE], dtype=torch.int32, device=DEVICE)
        tables.stop_mixing_token_id[self.at] = gates
        # The second row is closed and samples what reopens it; the third is open and does so, too.
        opening = torch.tensor([NO_TOKEN, 9, 10, NO_TOKEN, 9], dtype=torch.int32, device=DEVICE)
        tables.resume_mixing_token_id[self.at], tables.resume_policy[self.at] = opening, torch.full_like(opening, 2)
        self.slots = variant(tables, config, TableMixer(self.embedding, 0, VOCAB))
        self.token = torch.tensor([GATE, 9, 10, GATE, 12], dtype=integers, device=DEVICE)
        self.position = torch.tensor(POSITION, dtype=integers, device=DEVICE)

    @torch.inference_mode()
    def store(self, gated: bool = False) -> Tensor:
        read = self.slots.compute(self.at, self.logits, self.temperature)
        return self.slots.store(self.at, read, self.token, self.position, gated)

    def expected(self) -> moi.Mixture:
        tables = self.slots.tables
        rows = moi.RowParams(tables.policy[self.at], tables.parameters[self.at], self.temperature)
        return moi.mix(self.logits, self.token.long(), self.config, **rows._asdict())


@pytest.fixture(params=VARIANTS, ids=lambda variant: variant.__name__)
def variant(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.mark.parametrize("config", [MoIConfig(), MoIConfig.preset("paper"), MoIConfig(top_k=1)], ids=lambda c: c.top_k)
@pytest.mark.parametrize("integers", [torch.int32, torch.int64], ids=str)
@pytest.mark.parametrize("gated", [False, True])
def test_rows_are_left_as_documented(variant: Any, config: MoIConfig, integers: torch.dtype, gated: bool) -> None:
    step = Step(variant, config, integers)
    tables, at = step.slots.tables, step.at
    untouched = torch.ones(SLOTS, dtype=torch.bool, device=DEVICE).index_fill_(0, at, False)
    before, want = tables.mixtures[untouched].clone(), step.expected()
    rows = step.store(gated)
    assert torch.equal(rows, tables.mixtures[at])
    assert torch.equal(tables.mixtures[untouched], before)
    assert torch.equal(ids_of(rows), want.ids)
    torch.testing.assert_close(weights_of(rows), want.weights)
    torch.testing.assert_close(entropy_of(rows), want.entropy)
    plain = [0, 1] if gated else [1]  # by its gate, by its policy
    due, policy = torch.tensor(POSITION, dtype=torch.int32), torch.tensor(POLICY, dtype=torch.int32)
    due[plain], policy[plain] = NOT_DUE, 0
    if gated:  # the mark that reopens is itself fed as its row was until then
        policy[[1, 2]] = 2
    assert torch.equal(position_of(rows).cpu(), due)
    assert torch.equal(tables.policy[at].cpu(), policy)


@torch.inference_mode()
@pytest.mark.parametrize("gated", [False, True])
def test_policies_that_draw_are_completed_with_the_token(variant: Any, gated: bool) -> None:
    """The token is known after the weights: the candidate that it is has no share of its own."""
    step = Step(variant, MoIConfig())
    tables, at, codes = step.slots.tables, step.at, moi.policy_codes(["gumbel", "gumbel", "multiplex", "moi", "gumbel"])
    tables.policy[at], tables.parameters[at, 0] = codes.to(DEVICE), torch.tensor([0.5, 3, 4, 0.5, 1], device=DEVICE)
    tables.seed[at] = torch.tensor([0, 7, 2**40, 2**63 - 1, 7], device=DEVICE)
    best = step.logits.topk(3).indices
    step.token = torch.stack([best[0, 0], best[1, 2], best[2, 0], best[3, 1], step.logits[4].argmin()])
    drawn = moi.uniforms(tables.seed[at], step.position, 20)
    rows = moi.RowParams(tables.policy[at], tables.parameters[at], step.temperature, drawn)
    want = moi.mix(step.logits, step.token, step.config, **rows._asdict(), implementation="reference")
    pending = step.slots.compute(at, step.logits, step.temperature, step.position)
    left = step.slots.store(at, pending, step.token, step.position, gated)
    assert torch.equal(ids_of(left), want.ids)
    torch.testing.assert_close(weights_of(left), want.weights)
    same = want.ids[:, 1:] == want.ids[:, :1]
    assert same.any(1).tolist() == [True, True, True, True, False]
    assert weights_of(left)[:, 1:][same].gt(0).tolist()[:2] == [False, False]
    assert weights_of(left)[3, 1:][same[3]].item() > 0, "others keep theirs"


@torch.inference_mode()
def test_a_token_that_had_every_share_is_fed_plainly(variant: Any) -> None:
    """What an exclusive policy gave to the token's own candidate is gone: nothing is divided by nothing."""
    step = Step(variant, MoIConfig())
    tables, at = step.slots.tables, step.at
    tables.policy[at] = moi.policy_codes(["gumbel"] * ROWS).to(DEVICE)
    pending = step.slots.compute(at, step.logits, step.temperature, step.position)
    bits = None if isinstance(pending, PendingMixture) else torch.from_numpy(pending[1])
    weights = pending.mixture.weights if bits is None else weights_of(bits)
    weights.zero_()[:, 3] = 1
    step.token = (pending.mixture.ids if bits is None else ids_of(bits))[:, 3].long()
    left = step.slots.store(at, pending, step.token, step.position, False)
    assert torch.equal(weights_of(left), torch.eye(weights.shape[1])[:1].expand(ROWS, -1).to(DEVICE))


def test_weights_that_depend_on_the_token_are_completed_with_it() -> None:
    for name, completed in (("moi", False), ("multiplex", True), ("gumbel", True)):
        assert RequestSettings(MoIConfig(name)).policy.completed is completed
    exclusive = moi.Policy("others", lambda entropy, other, prior: (entropy, other * prior), normalised=True)
    assert exclusive.completed, "though it draws nothing"


@torch.inference_mode()
def test_a_mixture_arrives_where_its_token_and_position_fit(variant: Any) -> None:
    step = Step(variant, MoIConfig())
    step.store()
    token, position = step.token.clone(), step.position.clone()
    token[2] += 1  # its slot was given to another request, with another token
    position[3] += 1  # or another length
    plain = step.embedding(token)
    x = step.slots.apply(plain.clone(), step.at, token, position)
    want = moi.embed(step.expected(), step.embedding.weight)
    torch.testing.assert_close(x[[0, 4]], want[[0, 4]])
    assert torch.equal(x[[1, 2, 3]], plain[[1, 2, 3]]), "plain rows are the host's own, to the bit"
    assert not torch.equal(x[0], plain[0])
    assert torch.equal(x[4], plain[4]), "an infinite beta is plain decoding"


@torch.inference_mode()
def test_a_shard_adds_the_rows_it_holds(variant: Any) -> None:
    step = Step(variant, MoIConfig())
    step.store()
    want = moi.embed(step.expected(), step.embedding.weight)
    total = torch.zeros(ROWS, WIDTH, device=DEVICE)
    for start, end in ((0, 100), (100, VOCAB)):
        shard = torch.nn.Embedding.from_pretrained(step.embedding.weight[start:end])
        slots = variant(step.slots.tables, step.config, TableMixer(shard, start, end))
        held = (step.token >= start) & (step.token < end)
        own = torch.where(held[:, None], step.embedding(step.token), 0.0)
        total += slots.apply(own, step.at, step.token, step.position)
    torch.testing.assert_close(total, want)


@torch.inference_mode()
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_embeddings_that_are_no_plain_table_are_mixed_as_the_model_embeds(variant: Any, dtype: torch.dtype) -> None:
    step = Step(variant, MoIConfig())
    step.store()
    table = step.embedding.weight.to(dtype)
    slots = variant(step.slots.tables, step.config, lambda ids, weights: 3 * mixed(ids, weights, table))
    x = slots.apply(3 * table[step.token], step.at, step.token, step.position)
    want = 3 * moi.embed(step.expected(), table)
    torch.testing.assert_close(x[[0, 2, 3, 4]], want[[0, 2, 3, 4]])


def mixed(ids: Tensor, weights: Tensor, table: Tensor) -> Tensor:
    return moi.embed(moi.Mixture(ids, weights, weights[:, 0]), table)


def test_new_weights_of_a_running_server_are_seen(variant: Any) -> None:
    step = Step(variant, MoIConfig())
    step.store()
    with torch.inference_mode():
        step.embedding.weight = torch.nn.Parameter(step.embedding.weight + 1, requires_grad=False)
        x = step.slots.apply(step.embedding(step.token), step.at, step.token, step.position)
        torch.testing.assert_close(x[0], moi.embed(step.expected(), step.embedding.weight)[0])
        step.embedding.weight.data = step.embedding.weight.data + 1  # other memory below the same parameter
        x = step.slots.apply(step.embedding(step.token), step.at, step.token, step.position)
        torch.testing.assert_close(x[0], moi.embed(step.expected(), step.embedding.weight)[0])


def test_the_variant_follows_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    tables, embedding = Tables.allocate(3, 4, "cpu"), torch.nn.Embedding(9, 4)
    mixed = TableMixer(embedding, 0, 9)
    assert type(slots_of(tables, MoIConfig(), mixed)) is CPUSlots
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert type(slots_of(tables, MoIConfig(), mixed)) is Slots, "without Numba"


def test_the_documentation_has_the_bytes_of_a_slot() -> None:
    docs = (Path(__file__).parents[3] / "docs" / "sglang.md").read_text(encoding="utf-8")
    found = re.search(r"slot \(K = 20\) (\d+) bytes on the device, (\d+) for K = 64", docs)
    assert found is not None
    for top_k, told in zip((20, 64), found.groups(), strict=True):
        tables = vars(Tables.allocate(1, top_k, "cpu")).values()
        assert sum(table.nbytes for table in tables) == int(told) == 4 * (2 * (top_k + 1) + 2 + 6 + parameter_count())
