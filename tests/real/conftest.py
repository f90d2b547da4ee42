"""Pretrained models: chats in several languages; every engine is held to the same reference.

MOI_REAL_TESTS names the models to test, or says "all"; the default is the smallest. `make models` brings them.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
import torch

from moi import MoIConfig
from moi_engines import SamplingParams
from moi_engines.parity import FLOAT32, Cases, Output, Tolerance, judge
from moi_engines.parity_reference import Reference
from moi_engines.torch_engine import TorchEngine

TOKENS = 64
_CHATS = (
    "Write a short story about a robot and its cat. 🤖🐱",
    "Erkläre in zwei Sätzen, warum der Himmel blau ist. Schöne Grüße! 🙂",
    "用中文写一首关于月亮的短诗。🌙",
    "اكتب جملتين عن البحر والسفن 🌊",
)
_BASE = (  # for a model without a chat template, which goes on with a text
    "Colours and their emoji: red 🍎, green",
    "Der Himmel ist blau, weil das Licht der Sonne",
    "床前明月光,疑是地上霜。这首诗的意思是",
    "البحر الأبيض المتوسط 🌊 هو",
)
_MIXED = (MoIConfig(beta=1.0), MoIConfig(beta=0.5), MoIConfig(beta=2.0), MoIConfig(beta=1.0))
_GREEDY = SamplingParams(temperature=0, max_new_tokens=TOKENS, ignore_eos=True)
_SAMPLED = SamplingParams(temperature=0.8, top_p=0.95, max_new_tokens=TOKENS, ignore_eos=True, seed=7)


def _fetch() -> Any:
    """The module fetch.py beside this file: tests are no package."""
    spec = importlib.util.spec_from_file_location("real_models_fetch", Path(__file__).parent / "fetch.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


FETCH = _fetch()


def _selected() -> list[str]:
    wanted = os.environ.get("MOI_REAL_TESTS", "smollm2-135m")
    names = list(FETCH.REAL_MODELS) if wanted == "all" else wanted.split(",")
    for name in names:
        assert name in FETCH.REAL_MODELS, f"MOI_REAL_TESTS={wanted!r}; allowed: all, {', '.join(FETCH.REAL_MODELS)}"
    return names


@dataclass(frozen=True)
class Real:
    """A pretrained model and what its tests share."""

    name: str
    folder: Path
    _references: dict[str, Reference] = field(default_factory=dict)

    @cached_property
    def engine(self) -> TorchEngine:
        return TorchEngine(self.folder, device="cpu")

    @cached_property
    def prompts(self) -> list[list[int]]:
        """Token ids of the chats; of plain texts where the model has no template."""
        tokenizer = self.engine.tokenizer
        if tokenizer.chat_template is None:
            return [tokenizer(text).input_ids for text in _BASE]
        turns = ([{"role": "user", "content": text}] for text in _CHATS)
        texts = (tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True) for turn in turns)
        return [tokenizer(text, add_special_tokens=False).input_ids for text in texts]

    @cached_property
    def cases(self) -> Cases:
        """Greedy rows, every other prompt plain, then each mixed; sampled ones, plain and mixed from the same noise.

        Few of them, for the reference is slow.
        """
        plain = self.prompts[::2]
        prompts = [*plain, *self.prompts, *self.prompts[-1:] * 2]
        moi = [MoIConfig("token")] * len(plain) + [*_MIXED, MoIConfig("token"), MoIConfig(beta=1.0)]
        return Cases(prompts, [_GREEDY] * (len(prompts) - 2) + [_SAMPLED] * 2, moi)

    @property
    def plain(self) -> range:
        """Rows that are greedy and plain."""
        return range(len(self.prompts[::2]))

    @property
    def greedy(self) -> range:
        return range(len(self.cases.prompts) - 2)

    @property
    def every(self) -> range:
        return range(len(self.cases.prompts))

    @cached_property
    def expected(self) -> list[Any]:
        """The torch engine's generations."""
        return self.decode(self.engine, self.every)

    def some(self, rows: Sequence[int]) -> Cases:
        cases = self.cases
        return Cases(*([values[row] for row in rows] for values in (cases.prompts, cases.sampling, cases.moi)))

    def decode(self, engine: Any, rows: Sequence[int]) -> list[Any]:
        """An engine's generations."""
        cases = self.some(rows)
        found: list[Any] = engine.generate(cases.prompts, cases.sampling, cases.moi)
        return found

    def reference(self, weights: str) -> Reference:
        """One at a time: float64 takes memory."""
        if weights not in self._references:
            self._references.clear()
            self._references[weights] = Reference(self.folder, weights=weights)
        return self._references[weights]

    def check(self, rows: Sequence[int], outputs: Sequence[Any], tolerance: Tolerance = FLOAT32) -> None:
        """Fails unless each row is what the reference would choose, up to rounding.

        Rows like the torch engine's were judged with it. Where one is not, all are judged: of few rows rounding may
        decide most tokens.
        """
        told = [self.expected[row] for row in rows]
        if not all(_alike(out, each, tolerance) for out, each in zip(outputs, told, strict=True)):
            self.judge(rows, outputs, tolerance)

    def judge(
        self,
        rows: Sequence[int],
        outputs: Sequence[Any],
        tolerance: Tolerance = FLOAT32,
        weights: str = "float32",
    ) -> None:
        """Fails unless the reference, with weights of that type, would choose these rows' tokens."""
        verdict = judge(self.reference(weights), self.some(rows), outputs, tolerance)
        assert verdict.agrees, str(verdict)


def _alike(out: Any, told: Any, tolerance: Tolerance) -> bool:
    """Whether the tokens are the same, and the measures within the tolerance where there are any."""
    if list(out.token_ids) != list(told.token_ids):
        return False
    return out.entropies is None or (
        list(out.entropies) == pytest.approx(told.entropies, abs=tolerance.entropy)
        and list(out.interventions) == pytest.approx(told.interventions, abs=tolerance.intervention)
    )


@pytest.fixture(scope="session", params=_selected())
def real(request: pytest.FixtureRequest) -> Real:
    folder = FETCH.models_folder() / request.param
    if not folder.is_dir():
        pytest.skip(f"{request.param} is not on this machine: make models")
    return Real(request.param, folder)


@pytest.fixture(scope="session")
def telling(real: Real) -> Callable[[Sequence[int], Sequence[Any]], None]:
    """Fails unless generations measure something: plain rows mix nothing, mixed ones a part of their inputs."""

    def check(rows: Sequence[int], generations: Sequence[Any]) -> None:
        for moi, out in zip(real.some(rows).moi, generations, strict=True):
            if moi.policy == "token":
                assert (out.mixed_tokens, max(out.interventions)) == (0, 0)
                continue
            assert out.mixed_tokens > 0
            assert 0 < out.mean_intervention < 1
            assert 0 <= min(out.entropies) < max(out.entropies) <= 1
            assert len(set(out.entropies)) > TOKENS // 2

    return check


@pytest.fixture(scope="module", autouse=True)
def threads() -> Iterator[None]:
    """All cores that no other worker has, unlike the tests of tiny models."""
    before = torch.get_num_threads()
    own = len(os.sched_getaffinity(0)) // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    torch.set_num_threads(int(os.environ.get("MOI_TEST_THREADS") or max(own, 1)))
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def output() -> type[Output]:
    return Output
