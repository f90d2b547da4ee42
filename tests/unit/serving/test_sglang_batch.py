"""Batches, notes and tables on their own: what no server on a CPU comes to, or not every time."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from moi_serving.metrics import Metrics
from moi_serving.row_layout import NOT_DUE, ids_of, position_of, weights_of
from moi_serving.settings import ServerSettings
from moi_serving.slots.tables import SlotSettings
from moi_sglang.batches import Batches
from moi_sglang.embedding import Embedding
from moi_sglang.prefix_cache import checkpoint
from moi_sglang.requests import RequestInitialisation
from moi_sglang.runtime import UNKNOWN, BatchMetadata, Runtime

VOCAB, SLOTS = 100, 9


class Odd(torch.nn.Embedding):
    """A table that only the module itself knows how to read, as quantised ones are."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input) + 1


@pytest.fixture
def runtime() -> Runtime:
    return loaded(Odd(VOCAB, 8))


def loaded(table: torch.nn.Embedding, adapters: Any = None) -> Runtime:
    """Of a model that has been loaded, with a pool of slots and a manager of LoRA adapters."""
    runtime = Runtime(ServerSettings(), Metrics())
    runner = SimpleNamespace(
        is_draft_worker=False,
        lora_manager=adapters,
        device="cpu",
        model=SimpleNamespace(get_input_embeddings=lambda: table, table=table),
        model_config=SimpleNamespace(vocab_size=VOCAB),
        req_to_token_pool=SimpleNamespace(req_to_token=torch.empty(SLOTS, 1)),
    )
    Embedding(runtime).pool_allocated(None, runner)
    return runtime


def decode_batch(slots: Tensor, positions: Tensor) -> SimpleNamespace:
    mode = SimpleNamespace(is_decode=lambda: True, is_extend=lambda: False)
    return SimpleNamespace(req_pool_indices=slots, positions=positions, forward_mode=mode)


@torch.inference_mode()
def test_a_table_that_is_looked_up_takes_rows_that_were_just_configured(runtime: Runtime) -> None:
    slots = torch.tensor([4, 2])
    words = [SlotSettings(policy).words() for policy in (0, 1)]
    runtime.slots.tables.configure(slots, torch.tensor(words, dtype=torch.int32))
    table = runtime.runner.model.table
    runtime.batch, runtime.metadata = decode_batch(slots, torch.tensor([7, 8])), BatchMetadata(active=True)
    ids = torch.tensor([3, 5])
    assert torch.equal(table(ids), table.weight[ids] + 1)


@torch.inference_mode()
def test_nothing_is_left_to_compile_for_the_first_request() -> None:
    from moi.kernels import numba_loops
    from moi_serving.slots import numba_kernels

    runtime, slots = loaded(torch.nn.Embedding(VOCAB, 8)), torch.tensor([4, 2, 7])
    functions = (numba_kernels.compute, numba_kernels.store, numba_kernels.apply, numba_loops.embed)
    compiled = [len(function.signatures) for function in functions]
    assert min(compiled) > 0
    for integers in (torch.int32, torch.int64):
        token, position = torch.tensor([3, 5, 9]), slots + 9
        read = runtime.slots.compute(slots, torch.randn(3, VOCAB), torch.ones(3, 1).view(-1))
        rows = runtime.slots.store(slots, read, token.to(integers), position, may_stop=False)
        runtime.runner.model.table(token)
        runtime.slots.apply(torch.zeros(3, 8), slots, token, position)
        runtime.slots.mixer(ids_of(rows), weights_of(rows))
    assert [len(function.signatures) for function in functions] == compiled


@torch.inference_mode()
def test_slots_of_beam_members_forget_what_an_earlier_request_left(runtime: Runtime) -> None:
    position_of(runtime.slots.tables.mixtures).fill_(30)
    batch = decode_batch(torch.tensor([3, 6, 7]), torch.tensor([30, 30, 30]))
    scheduled = SimpleNamespace(forward_mode=batch.forward_mode, beam_tail=SimpleNamespace(num_base_rows=1))
    Batches(runtime).made(batch, None, scheduled, runtime.runner)
    assert position_of(runtime.slots.tables.mixtures).tolist() == [30] * 6 + [NOT_DUE] * 2 + [30]


def test_a_copy_has_the_note_of_the_batch_it_is_computed_for(runtime: Runtime) -> None:
    """The same copy may serve one batch after the other, as that of a captured graph does."""
    batches, copy, seen = Batches(runtime), SimpleNamespace(), []

    def enter(batch: Any) -> Any:
        return batches.context(lambda ctx, forward_batch: contextlib.nullcontext(), None, forward_batch=batch)

    for active in (False, True):
        original = SimpleNamespace(moi_metadata=BatchMetadata(active))
        with enter(original), enter(copy):
            seen.append((runtime.batch, runtime.metadata))
            with enter(None):
                assert runtime.batch is copy
    assert seen == [(copy, BatchMetadata(active=False)), (copy, BatchMetadata(active=True))]
    with enter(copy):  # graph capture: nothing around it
        assert runtime.metadata == UNKNOWN
    assert runtime.batch is None


@pytest.mark.parametrize(("recurrent", "cached"), [(False, [4]), (True, [])])
def test_a_recurrent_state_past_the_prompt_is_not_cached_as_the_prompts(recurrent: bool, cached: list[int]) -> None:
    calls: list[int] = []
    tree = SimpleNamespace(supports_mamba=lambda: recurrent, checkpoint=lambda req, up_to: calls.append(up_to))
    req = SimpleNamespace(
        moi=SimpleNamespace(settings=SimpleNamespace(mixes=True)),
        origin_input_ids=[5, 6, 7, 8],
        extend_end=9,
        skip_radix_cache_insert=False,
        kv=SimpleNamespace(cache_protected_len=0),
    )
    checkpoint(lambda *_: calls.append(-1), req, tree)
    assert calls == cached
    assert req.prefix_len == 9


def test_adapters_with_lora_on_the_embedding_stop_the_start() -> None:
    loaded(torch.nn.Embedding(VOCAB, 8), SimpleNamespace(target_modules={"q_proj"}))
    manager = SimpleNamespace(target_modules={"q_proj", "embed_tokens"})
    with pytest.raises(SystemExit, match=r"--lora-paths does not go with --enable-moi: .* by LoRA on the embedding"):
        loaded(torch.nn.Embedding(VOCAB, 8), manager)


@pytest.mark.parametrize(
    ("custom", "scheduler", "reason", "kind"),
    [
        ({"moi": {"beta": -1}}, SimpleNamespace(model_config=SimpleNamespace(vocab_size=VOCAB)), "beta=-1", ()),
        ({}, SimpleNamespace(), "MoI: AttributeError: ", (500, "InternalServerError")),
    ],
    ids=["bad request", "our mistake"],
)
def test_admission_never_raises(custom: Any, scheduler: Any, reason: str, kind: tuple[Any, ...]) -> None:
    """SGLang's scheduler would end with it; only what the client did wrong is the client's error."""
    told: list[Any] = []
    params = SimpleNamespace(custom_params=custom, beam_width=None)
    req = SimpleNamespace(rid="r", sampling_params=params, set_finish_with_abort=lambda *why: told.append(why))
    received = SimpleNamespace(return_logprob=True, logprob_start_len=5)
    RequestInitialisation(ServerSettings(), Metrics()).created(req, scheduler, received)
    ((message, *rest),) = told
    assert message.startswith(reason)
    assert tuple(rest) == kind
    assert (req.moi, req.input_embeds, received.return_logprob, received.logprob_start_len) == (None, None, False, -1)
