"""Every implementation of the registry against the oracle, and what the fused kernels promise beyond it."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from types import ModuleType

import pytest
import torch
from torch import Tensor

from moi import Mixture, MoIConfig, RowParams, load_policies, policy_names
from moi.kernels import IMPLEMENTATIONS, Implementation
from moi.testing import CASES, Case, Inputs, assert_embedding, assert_mixture, oracle_embed, oracle_mix

# Under Triton's interpreter numpy warns of the infinities that a GPU computes with in silence.
pytestmark = pytest.mark.filterwarnings("ignore:.* encountered in .*:RuntimeWarning")

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
DTYPES = (torch.float32, torch.bfloat16, torch.float16)
NAMED = {case.name: case for case in CASES}
BIG = {"large vocabulary", "largest vocabulary"}  # the oracle sorts these row by row: one type is enough
TABLE = [
    pytest.param(case, dtype, marks=[pytest.mark.slow] if dtype == torch.float16 else [])
    for case in CASES
    for dtype in DTYPES
    if case.name not in BIG or dtype == torch.float32
]


@pytest.fixture(params=list(IMPLEMENTATIONS))
def implementation(request: pytest.FixtureRequest) -> Implementation:
    found: Implementation = IMPLEMENTATIONS[request.param]
    if reason := found.unavailable(DEVICE):
        pytest.skip(reason)
    return found


@pytest.fixture(params=["numba", "triton"])
def fused(request: pytest.FixtureRequest) -> Implementation:
    found: Implementation = IMPLEMENTATIONS[request.param]
    if reason := found.unavailable(DEVICE):
        pytest.skip(reason)
    return found


@pytest.fixture
def triton() -> Implementation:
    found: Implementation = IMPLEMENTATIONS["triton"]
    if reason := found.unavailable(DEVICE):
        pytest.skip(reason)
    return found


@pytest.fixture(autouse=True)
def poison(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fresh memory holds NaN and wild numbers, so that a result nobody wrote cannot pass."""
    new_empty = Tensor.new_empty

    def poisoned(self: Tensor, *args: object, **options: object) -> Tensor:
        fresh: Tensor = new_empty(self, *args, **options)
        return fresh.fill_(float("nan") if fresh.is_floating_point() else 0x7BADBAD)

    monkeypatch.setattr(Tensor, "new_empty", poisoned)


def run(use: Implementation, inputs: Inputs, case: Case) -> Mixture:
    config = case.config
    found = use.mix(*inputs.to(DEVICE), config.top_k, config.entropy, config.prior)
    return Mixture(*(each.cpu() for each in found))


def summed(use: Implementation, mixture: Mixture, table: Tensor, start: int, end: int) -> Tensor:
    out = torch.full((len(mixture.ids), table.shape[1]), torch.nan, dtype=table.dtype, device=DEVICE)
    use.embed(mixture.ids.to(DEVICE), mixture.weights.to(DEVICE), table.to(DEVICE), start, end, out)
    return out.cpu()


@pytest.mark.parametrize(("case", "dtype"), TABLE, ids=lambda value: getattr(value, "name", str(value)))
def test_parity(implementation: Implementation, case: Case, dtype: torch.dtype) -> None:
    """Rows of a case differ in policy, beta and temperature."""
    inputs = case.inputs(dtype)
    mixture = run(implementation, inputs, case)
    assert_mixture(mixture, oracle_mix(inputs, case.config))
    table = case.table(40, dtype)
    assert_embedding(summed(implementation, mixture, table, 0, case.vocab), oracle_embed(mixture, table))


@pytest.mark.parametrize("code", range(len(load_policies())), ids=policy_names())
@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        *((name, torch.float32) for name in ("official", "paper", "masked", "nan, inf and zeros")),
        *(pytest.param("official", dtype, marks=pytest.mark.slow) for dtype in DTYPES[1:]),
    ],
    ids=str,
)
def test_parity_of_each_policy_on_every_row(
    implementation: Implementation, name: str, dtype: torch.dtype, code: int
) -> None:
    """Over the values that the declaration of each of its parameters allows."""
    case = NAMED[name]
    inputs = case.inputs(dtype).of_policy(code)
    assert_mixture(run(implementation, inputs, case), oracle_mix(inputs, case.config))


def test_token_and_policy_may_be_int32_or_int64(implementation: Implementation) -> None:
    case = NAMED["official"]
    inputs = case.inputs()
    narrow = run(implementation, inputs._replace(token=inputs.token.int()), case)
    wide = run(implementation, inputs._replace(rows=inputs.rows._replace(policy=inputs.rows.policy.long())), case)
    assert all(map(torch.equal, narrow, wide))


def test_settings_of_a_row_may_be_strided(implementation: Implementation) -> None:
    case = NAMED["paper"]
    inputs = case.inputs()
    token, *rows = (torch.stack([each, each + 1], 1)[:, 0] for each in (inputs.token, *inputs.rows))
    spread = Inputs(inputs.logits, token, RowParams(*rows))
    assert not any(each.is_contiguous() for each in (spread.token, *spread.rows))
    assert all(map(torch.equal, run(implementation, inputs, case), run(implementation, spread, case)))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_shards_sum_to_the_whole(implementation: Implementation, dtype: torch.dtype) -> None:
    case = NAMED["official"]
    mixture = run(implementation, case.inputs(), case)
    table = case.table(33, dtype)
    whole = oracle_embed(mixture, table)
    edges = [0, 1, 300, 300, 777, case.vocab]
    shards = [
        summed(implementation, mixture, table[start:end] if end > start else table[:1], start, end)
        for start, end in itertools.pairwise(edges)
    ]
    assert shards[2].eq(0).all(), "an empty shard contributes nothing"
    total = torch.stack(shards).double().sum(0)
    assert (total - whole).abs().max() <= len(shards) * {torch.float32: 4e-6}.get(dtype, 1.6e-2)


def test_weightless_slots_are_not_read_and_any_stride_will_do(implementation: Implementation) -> None:
    case = NAMED["official"]
    inputs = case.inputs().of_policy(0)
    mixture = run(implementation, inputs, case)
    table = torch.full((case.vocab, 64), torch.inf)
    table[::2] = torch.nan
    table[inputs.token] = torch.arange(64.0)
    out = torch.empty(64, 2 * case.rows, device=DEVICE).t()[::2]
    use_table = table.t().contiguous().t().to(DEVICE)
    packed = torch.cat([mixture.ids, mixture.weights.view(torch.int32)], 1).to(DEVICE)
    for rows in (packed, packed.t().contiguous().t()):  # rows that lie apart, and columns that do
        ids, weights = rows.chunk(2, 1)
        implementation.embed(ids, weights.view(torch.float32), use_table, 0, case.vocab, out.zero_())
        assert torch.equal(out.cpu(), torch.arange(64.0).expand(case.rows, 64))


@pytest.mark.parametrize("name", ["official", "paper", "masked, vocab", "strided"])
def test_a_row_is_the_same_bits_in_any_batch(fused: Implementation, name: str) -> None:
    case = NAMED[name]
    inputs = case.inputs()
    together = run(fused, inputs, case)
    for row in (0, case.rows // 2, case.rows - 1):
        alone = run(fused, inputs.select(torch.tensor([row])), case)
        assert all(torch.equal(a[0], b[row]) for a, b in zip(alone, together, strict=True))


@pytest.fixture
def host(triton: Implementation, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The module whose constants say how rows are cut up; plans are made anew before and after."""
    from moi.kernels import triton_kernels

    plan = triton_kernels.plan
    plan.cache_clear()
    yield triton_kernels
    plan.cache_clear()


@pytest.mark.parametrize("name", ["official", "paper", "flat", "masked"])
def test_split_does_not_change_candidates_or_weights(
    host: ModuleType, triton: Implementation, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """ids always, and weights too unless the entropy is summed over the vocabulary, whose order is the tiles'."""
    case = NAMED[name]
    inputs = case.inputs()
    expected = run(triton, inputs, case)
    for groups in (4, 128):
        monkeypatch.setattr(host, "GROUPS", groups)
        host.plan.cache_clear()
        found = run(triton, inputs, case)
        assert torch.equal(found.ids, expected.ids)
        if case.config.entropy == "support":
            assert all(map(torch.equal, found, expected))
        else:
            assert_mixture(found, oracle_mix(inputs, case.config))


@pytest.mark.parametrize("name", ["official", "ties", "flat", "masked, vocab", "whole vocabulary"])
def test_one_by_one_selection_agrees_with_the_tournament(
    host: ModuleType, triton: Implementation, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """As few places as there are candidates: any extra survivor of the tournament forces the slow way."""
    case = NAMED[name]
    inputs = case.inputs()
    expected = run(triton, inputs, case)
    plan = host.plan
    tight = 1 << (case.config.top_k - 1).bit_length()
    monkeypatch.setattr(host, "plan", lambda vocab, top_k: plan(vocab, top_k)._replace(short=tight))
    assert all(map(torch.equal, run(triton, inputs, case), expected))


@pytest.mark.parametrize("layout", ["spread", "one part", "one group", "one tile", "descending", "ascending", "equal"])
@pytest.mark.parametrize("top_k", [20, 64])
def test_candidates_wherever_the_largest_logits_lie(fused: Implementation, layout: str, top_k: int) -> None:
    """Rows contrived against the kernels: all survivors in one part, group or tile, rising or falling."""
    vocab = 64 * 128 * 66
    index = torch.arange(vocab)
    where = {
        "spread": index % 6007 == 0,
        "one part": (index // 64) % 128 == 5,
        "one group": index // 64 == 77,
        "one tile": index // 4096 == 9,
        "descending": index >= 0,
        "ascending": index >= 0,
        "equal": index < 0,
    }[layout]
    slope = -1 if layout == "ascending" else 1
    logits = torch.where(where, 10.0 - slope * index / vocab, 0.0)[None]
    case = Case("contrived", 1, vocab, MoIConfig(top_k=top_k), torch.zeros)
    inputs = Inputs(logits, torch.tensor([7]), RowParams.of([case.config], [1.0]))
    mixture = run(fused, inputs, case)
    expected = torch.sort(logits, stable=True, descending=True).indices[:, :top_k]
    assert torch.equal(mixture.ids[:, 1:], expected.int())


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_minus_zero_ties_with_zero(implementation: Implementation, dtype: torch.dtype) -> None:
    """Candidates of a row of zeros of either sign are the lowest ids, whichever sign comes first."""
    case = Case("zeros", 2, 9000, MoIConfig(), torch.zeros)
    logits = torch.where(torch.arange(9000) % 3 == 0, -0.0, 0.0).to(dtype)
    settings = RowParams.of([MoIConfig()] * 2, [1.0, 1.0])
    inputs = Inputs(torch.stack([logits, -logits]), torch.tensor([5, 8999]), settings)
    mixture = run(implementation, inputs, case)
    assert torch.equal(mixture.ids[:, 1:], torch.arange(20, dtype=torch.int32).expand(2, 20))
    assert_mixture(mixture, oracle_mix(inputs, case.config))


def test_flashinfer_composition_with_a_stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """The torch part of the composition, on top of a top_k that keeps FlashInfer's documented order."""

    def top_k(z: Tensor, k: int, **options: object) -> tuple[Tensor, Tensor]:
        assert options == {"sorted": True, "deterministic": True, "tie_break": 1}
        assert z.is_contiguous()
        found = torch.sort(z, stable=True, descending=True)
        return found.values[:, :k], found.indices[:, :k]

    stand_in = ModuleType("flashinfer")
    stand_in.top_k = top_k  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "flashinfer", stand_in)
    flashinfer: Implementation = IMPLEMENTATIONS["flashinfer"]
    for case in CASES:
        if case.name not in BIG:
            inputs = case.inputs()
            found = flashinfer.mix(*inputs, case.config.top_k, case.config.entropy, case.config.prior)
            assert_mixture(found, oracle_mix(inputs, case.config))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA graphs need a GPU")
@pytest.mark.parametrize("name", ["official", "paper"])
def test_graph_replays_see_changed_inputs(triton: Implementation, name: str) -> None:
    case = NAMED[name]
    config = case.config
    inputs = case.inputs().to(DEVICE)
    table = case.table(64, torch.bfloat16).to(DEVICE)
    out = torch.empty(case.rows, 64, dtype=torch.bfloat16, device=DEVICE)

    def step() -> Mixture:
        mixture = triton.mix(*inputs, config.top_k, config.entropy, config.prior)
        triton.embed(mixture.ids, mixture.weights, table, 0, case.vocab, out)
        return mixture

    step()  # compiles
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        mixture = step()
    for seed in (1, 2, 3):
        changed = case.inputs(seed=seed)
        inputs.copy_(changed)
        graph.replay()
        torch.cuda.synchronize()
        assert_mixture(mixture, oracle_mix(changed, config))
        assert_embedding(out, oracle_embed(Mixture(*(each.cpu() for each in mixture)), table.cpu()))
