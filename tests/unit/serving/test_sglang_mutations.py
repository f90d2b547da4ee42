"""The plugin's slots and embedding hook decode a model as the torch engine does; each planted mistake is ten
tolerances off. No SGLang: a loop of our own is the host, in slots that earlier requests have left.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from moi import MoIConfig
from moi_engines.parity import FLOAT32, Cases, judge
from moi_engines.parity_reference import Reference
from moi_engines.request import SequenceState
from moi_engines.testing import ARCHITECTURES
from moi_engines.torch_engine import TorchEngine
from moi_serving.embedding import TableMixer
from moi_serving.metrics import Metrics
from moi_serving.mixing_marks import Marks
from moi_serving.replay import RequestState
from moi_serving.row_layout import entropy_of, ids_of, interventions, position_of, weights_of
from moi_serving.settings import RequestSettings, ServerSettings
from moi_serving.slots.base import Slots
from moi_serving.slots.cpu import CPUSlots
from moi_serving.slots.cuda import GPUSlots
from moi_sglang.embedding import Embedding
from moi_sglang.runtime import BatchMetadata, Runtime

SLOTS, BATCH = 12, 8
pytestmark = pytest.mark.slow

MODE = SimpleNamespace(is_decode=lambda: True, is_extend=lambda: False)


class Host(TorchEngine):
    """Stands in for SGLang: `moi` is what its flags say."""

    def __init__(self, model: Path, moi: MoIConfig, rng: random.Random) -> None:
        super().__init__(model, device="cpu", batch_size=BATCH)
        self._rng, self._table = rng, self.checkpoint.model.get_input_embeddings()
        self.runtime = Runtime(ServerSettings(moi), Metrics())
        runner = SimpleNamespace(
            is_draft_worker=False,
            lora_manager=None,
            device="cpu",
            model=self.checkpoint.model,
            model_config=SimpleNamespace(vocab_size=self.limits.vocab),
            req_to_token_pool=SimpleNamespace(req_to_token=torch.empty(SLOTS, 1)),
        )
        Embedding(self.runtime).pool_allocated(None, runner)

    @torch.inference_mode()
    def decode_batch(self, rows: list[SequenceState]) -> Iterator[Any]:
        from transformers import DynamicCache

        cache = DynamicCache(config=self.checkpoint.model.config)
        x, place = self.loop.embed_prompts(rows)
        settings, slots = self.loop.settings(rows), self._configured(rows)
        while any(row.finish_reason is None for row in rows):
            logits = self.loop.forward(x, place, cache)
            place = place.advanced()
            position = place.positions[:, 0]
            read = self.runtime.slots.compute(slots, logits, settings.sampling.temperature, position)
            token = self.loop.sample(logits, rows, settings)
            left = self.runtime.slots.store(slots, read, token, position, False).numpy()
            told = token.tolist(), entropy_of(left).tolist(), interventions(left).tolist()
            for row, *chosen in zip(rows, *told, strict=True):
                if row.finish_reason is None:
                    yield row.append_token(*chosen)
            self.runtime.batch = SimpleNamespace(req_pool_indices=slots, positions=position, forward_mode=MODE)
            self.runtime.metadata = BatchMetadata(active=True)
            x = self._table(token)[:, None]
            self.runtime.batch = None

    def _configured(self, rows: list[SequenceState]) -> Tensor:
        """Slots of no order, that hold what the batch before left there."""
        slots = torch.tensor(self._rng.sample(range(1, SLOTS), len(rows)))
        states = [RequestState(RequestSettings(row.moi), Marks(), row.seed) for row in rows]
        settings = [state.settings_after(row.prompt, []) for state, row in zip(states, rows, strict=True)]
        words = [each.words() for each in settings]
        self.runtime.slots.tables.configure(slots, torch.tensor(words, dtype=torch.int32))
        return slots


@pytest.fixture
def make_host(base_seed: int, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Host]:
    """make_host(model, moi, variant=CPUSlots)"""

    def make(model: Path, moi: MoIConfig, variant: type[Slots] = CPUSlots) -> Host:
        monkeypatch.setattr("moi_sglang.runtime.slots_of", variant)
        return Host(model, moi, random.Random(base_seed))

    return make


def run(engine: TorchEngine, cases: Cases) -> list[Any]:
    return engine.generate(cases.prompts, cases.sampling, cases.moi, noise=cases.noise)


@pytest.mark.parametrize(
    ("variant", "preset", "architecture"),
    [
        *((CPUSlots, "official", architecture) for architecture in ARCHITECTURES),
        *((CPUSlots, "paper", "qwen2"), (CPUSlots, "paper", "gemma3")),
        *((Slots, "official", "llama"), (Slots, "paper", "gemma3")),
        *((GPUSlots, "official", "qwen3"), (GPUSlots, "paper", "gemma3")),  # without a GPU interpreted
    ],
)
def test_slots_and_embedding_agree(
    variant: type[Slots],
    preset: str,
    architecture: str,
    make_host: Callable[..., Host],
    random_model: Callable[..., Path],
    make_cases: Callable[..., Cases],
) -> None:
    if variant is GPUSlots:
        pytest.importorskip("triton", reason="Triton is not installed; pip install mixture-of-inputs[triton]")
    shared = MoIConfig.preset(preset)
    cases = make_cases(name=f"slots {architecture} {preset}", steps=16)
    fixed = {key: getattr(shared, key) for key in ("top_k", "entropy", "prior")}
    moi = [each.replace(**fixed) for each in cases.moi]
    model, cases = random_model(architecture), replace(cases, moi=moi)
    found = judge(Reference(model), cases, run(make_host(model, shared, variant), cases))
    assert found.agrees, str(found)


# --- planted mistakes -----------------------------------------------------------------------------------------


def changed(engine: Host, change: Callable[[Tensor, Tensor, Tensor], None]) -> None:
    """`change(slots, before, now)` what is left in the slots, from the rows [B,W] that were there before."""
    slots, store = engine.runtime.slots, engine.runtime.slots.store

    def mistaken(at: Tensor, *args: Any) -> Tensor:
        before, rows = slots.tables.mixtures[at], store(at, *args)
        now = rows.clone()
        change(at, before, now)
        slots.tables.mixtures[at] = now
        return rows  # what is told of it stays right

    slots.store = mistaken  # type: ignore[method-assign]


def _neighbours(at: Tensor, before: Tensor, now: Tensor) -> None:
    ids_of(now)[:, 1:] = ids_of(now)[:, 1:].roll(1, 0)
    weights_of(now)[:] = weights_of(now).roll(1, 0)


def _step_before(at: Tensor, before: Tensor, now: Tensor) -> None:
    known = ids_of(before)[:, 1:].any(1)  # not after the prompt
    ids_of(now)[known, 1:] = ids_of(before)[known, 1:]
    weights_of(now)[known] = weights_of(before)[known]


def _no_slot_0(at: Tensor, before: Tensor, now: Tensor) -> None:
    weights_of(now)[:, 0] = 0


def _due_a_step_late(at: Tensor, before: Tensor, now: Tensor) -> None:
    position_of(now)[:] += 1


def _over_ln_v(engine: Host) -> None:
    """Of the method's rows, whose weights are linear in H; `direct` has no H."""
    share = math.log(engine.runtime.settings.moi.top_k) / math.log(engine.limits.vocab)

    def change(at: Tensor, before: Tensor, now: Tensor) -> None:
        method = engine.runtime.slots.tables.policy[at] == 1
        weights = weights_of(now)
        weights[method] *= share
        weights[method, 0] += 1 - share

    changed(engine, change)


def _more_beta(engine: Host) -> None:
    tables, configure = engine.runtime.slots.tables, engine.runtime.slots.tables.configure

    def mistaken(slots: Tensor, settings: Tensor) -> None:
        configure(slots, settings)
        tables.parameters[slots, 0] += 0.02

    object.__setattr__(tables, "configure", mistaken)


def _neighbours_settings(engine: Host) -> None:
    tables, configure = engine.runtime.slots.tables, engine.runtime.slots.tables.configure
    object.__setattr__(tables, "configure", lambda slots, settings: configure(slots, settings.roll(1, 0)))


def _no_scale(engine: Host) -> None:
    module = engine.checkpoint.model.get_input_embeddings()
    engine.runtime.slots.mixer = TableMixer(module, 0, len(module.weight))


# The architecture, what the flags of the host should have said, and what is done to it.
MISTAKES: dict[str, tuple[str, dict[str, Any], Callable[[Host], None]]] = {
    "none": ("llama", {}, lambda engine: None),
    "mixture of the neighbouring row": ("qwen2", {}, lambda engine: changed(engine, _neighbours)),
    "mixture of the step before": ("llama", {}, lambda engine: changed(engine, _step_before)),
    "slot 0 dropped": ("qwen2", {}, lambda engine: changed(engine, _no_slot_0)),
    "due a step late": ("qwen3", {}, lambda engine: changed(engine, _due_a_step_late)),
    "entropy over ln V": ("qwen3", {}, _over_ln_v),
    "beta + 1.02": ("llama", {}, _more_beta),
    "settings of the neighbouring row": ("qwen2", {}, _neighbours_settings),
    "embedding scale forgotten": ("gemma3", {}, _no_scale),
    "K - 1 candidates": ("llama", {"top_k": 21}, lambda engine: None),
    "temperature ignored by the prior": ("qwen3", {"prior": "sampling"}, lambda engine: None),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_planted_mistake_is_ten_tolerances_off(
    mistake: str, make_host: Callable[..., Host], random_model: Callable[..., Path], make_cases: Callable[..., Cases]
) -> None:
    architecture, shared, plant = MISTAKES[mistake]
    model, cases = random_model(architecture), make_cases(name=f"slots {mistake}", count=4, steps=16, **shared)
    engine = make_host(model, MoIConfig())
    plant(engine)
    found = judge(Reference(model), cases, run(engine, cases))
    if mistake == "none":
        assert found.agrees, str(found)
    else:
        assert found.margin >= 10 * FLOAT32.margin, str(found)
        assert any(each.what == "token" for each in found.departures)
