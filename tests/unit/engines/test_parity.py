"""The judgement itself: sound backends agree, whatever is drawn; each planted mistake is ten tolerances off."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from moi import Mixture, MoIConfig, RowParams, policy_code, uniforms
from moi.mixture import Given, normalised_entropy, policy_weights, softmax
from moi.testing import Inputs, oracle_embed, oracle_mix
from moi_engines import SamplingParams, embedded_model
from moi_engines.noise import drawn_uniforms
from moi_engines.parity import FLOAT32, TOLERANCES, Cases, Output, Parity, judge
from moi_engines.parity_reference import Reference
from moi_engines.sampler import SamplingTensors, sample
from moi_engines.testing import ARCHITECTURES
from moi_engines.torch_engine import TorchEngine
from moi_engines.torch_loop import TorchLoop


def run(engine: TorchEngine, cases: Cases) -> list[Any]:
    return engine.generate(cases.prompts, cases.sampling, cases.moi, noise=cases.noise)


@pytest.mark.parametrize("number", [0, *(pytest.param(number, marks=pytest.mark.slow) for number in (1, 2))])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_torch_engine_agrees_on_any_model(
    architecture: str, number: int, random_model: Callable[..., Path], make_cases: Callable[..., Cases]
) -> None:
    model, cases = random_model(architecture, number), make_cases(name=f"{architecture} {number}")
    found = judge(Reference(model), cases, run(TorchEngine(model, batch_size=4), cases))
    assert found.agrees, str(found)


def test_the_embedded_model_is_decidable_for_long(make_cases: Callable[..., Cases]) -> None:
    cases = make_cases(vocab=116, name="embedded")
    cases = replace(cases, sampling=[replace(each, max_new_tokens=64) for each in cases.sampling])
    found = judge(Reference(embedded_model()), cases, run(TorchEngine(embedded_model()), cases))
    assert found.agrees, str(found)
    assert found.judged > found.tokens / 2  # half of the rows' settings amplify rounding


@pytest.mark.parametrize("preset", ["official", "paper"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_reference_is_the_loop_without_a_cache(
    architecture: str, preset: Any, random_model: Callable[..., Path], make_cases: Callable[..., Cases]
) -> None:
    """The whole prefix anew at each step, in float64, mixed by the restatement of the op."""
    cases = make_cases(name=f"{architecture} loop", steps=12)
    shared = MoIConfig.preset(preset)
    moi = [shared.replace(policy=each.policy, **dict(each.parameters)) for each in cases.moi]
    model = random_model(architecture)
    decoder = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float64).eval()
    table = decoder.get_input_embeddings()
    every_row = table(torch.arange(table.num_embeddings)).detach()
    x = [every_row[prompt][None] for prompt in cases.prompts]
    tokens = [[int(value * 258) for value in row[:12]] for row in cases.noise or []]
    steps = list(Reference(model).follow(cases.prompts, cases.sampling, moi, tokens, rounding=3e-6))
    compared = 0
    for step in steps:
        row = step.event.row
        with torch.no_grad():
            logits = decoder(inputs_embeds=x[row]).logits[:, -1]
        if step.drift <= FLOAT32.margin / 2:
            compared += 1
            # Of what is hardly ever drawn, logits may be further off. Twins are samples of what rounding does.
            apart = float((step.logits.softmax(-1) - logits[0].softmax(-1)).abs().sum()) / 2
            assert apart <= 10 * FLOAT32.margin
        drawn = uniforms(torch.tensor([cases.sampling[row].seed]), torch.tensor([x[row].shape[1]]), moi[row].top_k)
        settings = RowParams.of([moi[row]], [cases.sampling[row].temperature])._replace(uniforms=drawn)
        given = Inputs(logits.float(), torch.tensor([step.event.token_id]), settings)
        mixture = oracle_mix(given, moi[row])
        x[row] = torch.cat([x[row], oracle_embed(mixture, every_row)[None]], 1)
    assert compared > len(steps) / 2


def test_a_twin_that_stays_near_by_chance_hides_no_drift(
    random_model: Callable[..., Path], make_cases: Callable[..., Cases], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where its errors lie along what the model does not amplify: here it has none."""
    cases, reference, draw = make_cases(name="near", steps=12), Reference(random_model("qwen2")), torch.randn
    tokens = [[int(value * 258) for value in row[:12]] for row in cases.noise or []]

    def near(shape: tuple[int, ...], **options: Any) -> torch.Tensor:
        errors = draw(shape, **options)
        errors[:, 0] = 0
        return errors

    monkeypatch.setattr(torch, "randn", near)
    steps = reference.follow(cases.prompts, cases.sampling, cases.moi, tokens, rounding=FLOAT32.rounding)
    assert min(step.drift for step in steps) > 0


# --- planted mistakes -----------------------------------------------------------------------------------------


class Mutant(TorchLoop):
    """The torch engine's loop with one mistake."""

    mistake: str

    def mix(self, logits: Any, token: Any, rows: Any, settings: Any) -> Any:
        right = super().mix(logits, token, rows, settings)
        config, z = rows[0].moi, logits.gather(1, right.ids[:, 1:].long())
        tau = settings.sampling.temperature.clamp_min(0)
        tau = torch.where(tau > 0, tau, 1.0)[:, None] if config.prior == "sampling" else torch.ones_like(tau)[:, None]
        if self.mistake == "temperature ignored by the prior":
            tau = torch.ones_like(tau)
        p = softmax((z - z[:, :1]) / tau)
        h, parameters = normalised_entropy(p, config.top_k), settings.moi.parameters
        if self.mistake == "entropy over ln V":
            h = h * math.log(config.top_k) / math.log(logits.shape[1])
        if self.mistake == "K - 1 candidates":
            p = softmax((z - z[:, :1]).masked_fill(torch.arange(config.top_k) == config.top_k - 1, -torch.inf) / tau)
            h = normalised_entropy(p, config.top_k - 1)
        if self.mistake == "beta + 1.02":
            parameters = parameters + 0.02
        given = Given(p, h[:, None], right.ids, drawn_uniforms(rows, logits.device))
        weights = policy_weights(settings.moi.policy, parameters, given)
        if self.mistake == "slot 0 dropped":
            weights[:, 0] = torch.where(settings.moi.policy == policy_code("token"), weights[:, 0], 0.0)
        return self._moved(Mixture(right.ids, weights, h))

    def _moved(self, mixture: Mixture) -> Mixture:
        """Entropies stay in their rows: only what is fed back is wrong."""
        if self.mistake == "mixture of the neighbouring row":
            return mixture._replace(ids=mixture.ids.roll(1, 0), weights=mixture.weights.roll(1, 0))
        before = getattr(self, "_before", None)
        self._before = mixture
        if self.mistake == "mixture of the step before" and before is not None and len(before.ids) == len(mixture.ids):
            return before._replace(entropy=mixture.entropy)
        return mixture

    def sample(self, logits: Any, rows: Any, settings: Any) -> Any:
        if self.mistake != "top-p cut a token later":
            return super().sample(logits, rows, settings)
        noise = torch.tensor([next(row.noise, 0.0) for row in rows])
        chosen = []
        for own, row, u in zip(logits, rows, noise, strict=True):
            top_p = row.sampling.top_p
            p = torch.softmax(own / (row.sampling.temperature or 1.0), -1).sort(descending=True).values.cumsum(0)
            later = float(p[min(int((p < top_p).sum()), len(p) - 1)]) + 1e-6 if top_p < 1 else 1.0
            params = SamplingTensors.of([replace(row.sampling, top_p=min(later, 1.0))], len(own), own.device)
            chosen.append(sample(own[None], params, u[None]))
        return torch.cat(chosen)

    def forward(self, x: Any, mask: Any, cache: Any) -> Any:
        if self.mistake != "position off by one" or x.shape[1] != 1 or not cache.get_seq_length():
            return super().forward(x, mask, cache)
        decoder = self.checkpoint.model

        def late(module: Any, args: Any, given: dict[str, Any]) -> Any:
            return args, {**given, "position_ids": given["position_ids"] + 1}

        hook = decoder.register_forward_pre_hook(late, with_kwargs=True)
        try:
            return super().forward(x, mask, cache)
        finally:
            hook.remove()

    def scale(self, x: Any) -> Any:
        return x if self.mistake == "embedding scale forgotten" else super().scale(x)


MISTAKES = {
    "entropy over ln V": "qwen3",
    "beta + 1.02": "llama",
    "slot 0 dropped": "qwen2",
    "K - 1 candidates": "llama",
    "position off by one": "qwen3",
    "mixture of the neighbouring row": "qwen2",
    "mixture of the step before": "llama",
    "embedding scale forgotten": "gemma3",
    "temperature ignored by the prior": "qwen3",
    "top-p cut a token later": "qwen2",
}


@pytest.mark.slow
@pytest.mark.parametrize("mistake", [*MISTAKES, "none"])
def test_a_planted_mistake_is_ten_tolerances_off(
    mistake: str, random_model: Callable[..., Path], make_cases: Callable[..., Cases]
) -> None:
    model = random_model(MISTAKES.get(mistake, "llama"))
    prior = "sampling" if "prior" in mistake else "raw"
    cases = make_cases(name=mistake, count=4, steps=16, prior=prior)
    engine = TorchEngine(model)
    engine.loop = mutant = Mutant(engine.checkpoint, implementation="reference")
    mutant.mistake = mistake
    found = judge(Reference(model), cases, run(engine, cases))
    if mistake == "none":
        assert found.agrees, str(found)
    else:
        assert found.margin >= 10 * FLOAT32.margin, str(found)
        assert any(each.what == "token" for each in found.departures)


# --- ends, and what a verdict says ----------------------------------------------------------------------------


@pytest.fixture
def small() -> tuple[Reference, Cases, list[Output]]:
    """Two greedy rows of 6 tokens that may end with any token that comes up, of a model that amplifies no rounding."""
    model = embedded_model()
    cases = Cases(
        [[5, 9], [7]], [SamplingParams(temperature=0, max_new_tokens=6, ignore_eos=True)] * 2, [MoIConfig()] * 2
    )
    outputs = run(TorchEngine(model), cases)
    return Reference(model), cases, [Output(each.token_ids, each.finish_reason) for each in outputs]


def test_a_row_that_ends_too_early_is_found(small: Any) -> None:
    reference, cases, (first, second) = small
    assert judge(reference, cases, [first, second]).agrees
    found = judge(reference, cases, [first, Output(second.token_ids[:4])])
    assert found.reason == "row 1, step 4: ends with the end, not another token"


def test_a_row_that_goes_on_is_found(small: Any) -> None:
    reference, cases, (first, second) = small
    found = judge(reference, cases, [first, Output([*second.token_ids, 3, 4])])
    assert found.reason == "row 1, step 6: goes on with 2 tokens more, not the end (length)"
    eos = replace(reference.limits, eos=frozenset(second.token_ids[1:2]))
    reference.limits = eos
    ends = replace(cases, sampling=[cases.sampling[0], replace(cases.sampling[1], ignore_eos=False)])
    at = second.token_ids.index(second.token_ids[1]) + 1
    found = judge(reference, ends, [first, second])
    assert f"row 1, step {at}: goes on with {6 - at} tokens more, not the end (eos)" == found.reason
    assert judge(reference, ends, [first, Output(second.token_ids[:at], "eos")]).agrees
    assert judge(reference, ends, [first, Output(second.token_ids[:at], "length")]).reason == (
        f"row 1, step {at}: ends with length, not eos"
    )


def test_the_verdict_names_row_step_tokens_and_margin(small: Any) -> None:
    reference, cases, (first, second) = small
    wrong = (second.token_ids[2] + 1) % 116
    changed = [*second.token_ids[:2], wrong, *second.token_ids[3:]]
    found = judge(reference, cases, [first, Output(changed)])
    assert (found.departures[0].row, found.departures[0].step, found.departures[0].what) == (1, 2, "token")
    assert str(found.reason).startswith(f"row 1, step 2: token {wrong}, not {second.token_ids[2]} (margin ")
    beyond = judge(reference, cases, [first, Output([*second.token_ids[:5], 116])])
    assert beyond.reason == "row 1, step 5: goes on with 116, not an id below 116"
    with pytest.raises(ValueError, match="1 outputs for 2 prompts"):
        judge(reference, cases, [first])


def test_measures_are_judged_and_nan_is_no_measure(small: Any) -> None:
    reference, cases, _ = small
    outputs = run(TorchEngine(reference.checkpoint.model.name_or_path), cases)
    shifted = replace(outputs[1], entropies=tuple(h + 0.01 for h in outputs[1].entropies))
    assert "row 1, step 0: entropy" in str(judge(reference, cases, [outputs[0], shifted]).reason)
    broken = replace(outputs[1], interventions=(math.nan,) * 6)
    assert "row 1, step 0: intervention nan" in str(judge(reference, cases, [outputs[0], broken]).reason)
    short = replace(outputs[1], entropies=outputs[1].entropies[:3])
    assert "row 1, step 3: entropy nan" in str(judge(reference, cases, [outputs[0], short]).reason)


def test_rare_outliers_are_allowed_where_errors_have_no_bound(small: Any) -> None:
    reference, cases, _ = small
    outputs = run(TorchEngine(reference.checkpoint.model.name_or_path), cases)
    tolerance = replace(FLOAT32, outliers=0.1)  # of 12 tokens

    def verdict(rows: tuple[int, ...], **changed: Any) -> Parity:
        """Entropies of these rows are off from step 2 on; the second row is `changed`, too."""
        told = [replace(outputs[0]), replace(outputs[1], **changed)]
        for row in rows:
            off = tuple(h + 0.01 * (i >= 2) for i, h in enumerate(told[row].entropies))
            told[row] = replace(told[row], entropies=off)
        return judge(reference, cases, told, tolerance)

    found = verdict((1,))
    assert (found.agrees, len(found.departures), found.judged, found.lost) == (True, 1, 9, 3)
    assert not verdict((0, 1)).agrees
    assert "step 2: entropy" in str(verdict((0, 1)).reason)
    broken = tuple(math.nan if i == 3 else h for i, h in enumerate(outputs[1].interventions))
    assert "row 1, step 3: intervention nan" in str(verdict((), interventions=broken).reason)
    assert verdict((1,), finish_reason="stop").reason == "row 1, step 6: ends with stop, not length"


def test_own_noise_is_judged_by_the_filters(random_model: Callable[..., Path]) -> None:
    model = random_model("llama")
    sampling = [SamplingParams(1.0, top_k=5, max_new_tokens=8, ignore_eos=True, seed=seed) for seed in range(4)]
    drawn = Cases([[9, 8, 7]] * 4, sampling, [MoIConfig(beta=0.25)] * 4, own_noise=True)
    outputs = run(TorchEngine(model), drawn)
    assert judge(Reference(model), drawn, outputs).agrees
    other = replace(drawn, sampling=[replace(each, seed=each.seed + 50) for each in sampling])
    assert judge(Reference(model), other, outputs).agrees
    assert judge(Reference(model), replace(other, own_noise=False), outputs).departures
    narrower = replace(drawn, sampling=[replace(each, top_k=1) for each in sampling])
    assert judge(Reference(model), narrower, outputs).departures


def test_every_type_has_a_tolerance() -> None:
    assert list(TOLERANCES) == ["float32", "float16", "bfloat16", "int4"]


def test_the_reference_is_float64_for_small_models_and_rounds_weights_first(tiny_model: Callable[[str], Path]) -> None:
    for weights in TOLERANCES:
        reference = Reference(tiny_model("qwen3"), weights=weights)
        table = reference.checkpoint.table
        assert table.dtype == torch.float64
        kept = torch.equal(table, Reference(tiny_model("qwen3")).checkpoint.table)
        assert kept == (weights in ("float32", "int4"))
