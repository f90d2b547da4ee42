"""Near ties of logits that a backend orders the other way: rounding, which must not count against it."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from moi import MoIConfig
from moi_engines import SamplingParams
from moi_engines.parity import Cases, judge
from moi_engines.parity_reference import Reference, _exchanged
from moi_engines.testing import save_tiny_model
from moi_engines.torch_engine import TorchEngine
from moi_engines.torch_loop import TorchLoop

ONE, OTHER = slice(0, 258, 43), slice(1, 258, 43)  # ids of pairs


class Exchanging(TorchLoop):
    """Mixes as if of each pair the other id had the larger logit."""

    def mix(self, logits: Any, token: Any, rows: Any, settings: Any) -> Any:
        exchanged = logits.clone()
        exchanged[:, ONE], exchanged[:, OTHER] = logits[:, OTHER], logits[:, ONE]
        return super().mix(exchanged, token, rows, settings)


@pytest.fixture
def paired(tmp_path: Path, base_seed: int) -> Path:
    """A model that gives the ids of a pair logits a unit in the last place apart, but embeds them differently."""
    model = save_tiny_model(tmp_path / "model", "llama", seed=base_seed)
    weights = load_file(model / "model.safetensors")
    output = weights["lm_head.weight"]
    output[OTHER] = output[ONE] * (1 + torch.finfo(output.dtype).eps)
    save_file(weights, model / "model.safetensors", {"format": "pt"})
    return model


def test_candidates_that_change_places_are_not_held_against_a_backend(paired: Path, base_seed: int) -> None:
    rng = random.Random(f"{base_seed}/ties")
    policies = [MoIConfig(name) for name in ("gumbel", "multiplex", "moi", "token")] * 6  # two choose by rank
    sampling = [SamplingParams(rng.choice([0.7, 1.0]), seed=i, max_new_tokens=12, ignore_eos=True) for i in range(24)]
    cases = Cases([[rng.randrange(2, 258) for _ in range(5)] for _ in policies], sampling, policies)
    engine = TorchEngine(paired)
    engine.loop = Exchanging(engine.checkpoint, implementation="reference")
    found = judge(Reference(paired), cases, engine.generate(cases.prompts, cases.sampling, cases.moi))
    assert not found.departures, str(found)
    assert 0 < found.judged < found.tokens


def test_neighbours_within_the_error_change_places() -> None:
    values = torch.tensor([[5.0, 4.9999, 3.0, 2.9999, -torch.inf, -torch.inf], [5.0, 4.0, 3.9999, 3.0, 2.0, 1.0]])
    even, odd = _exchanged(values, torch.full((2, 1), 1e-3))
    torch.testing.assert_close(even[0, :4], torch.tensor([4.9999, 5.0, 2.9999, 3.0]), rtol=0, atol=1e-5)
    assert torch.equal(even[1], values[1])
    assert torch.equal(odd[0], values[0])
    assert odd[1, 1] < odd[1, 2]
