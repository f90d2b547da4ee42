"""Every policy in one batch of the real server, those that draw by seeds: as the torch engine, and repeatable."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from moi import policy_names
from moi.policies import policy_named

# Parameters under which feedback on random weights leaves enough tokens decidable.
PARAMETERS: dict[str, dict[str, float]] = {
    "moi": {"beta": 1},
    "selar": {"strength": 0.5},
    "router": {"threshold": 0.05},
    "gumbel": {"tau": 0.3},
    "multiplex": {"draws": 2},
}
SETTINGS: list[dict[str, Any]] = [
    {
        "policy": name,
        **PARAMETERS.get(name, {}),
        "per_token": True,
        **({"seed": 11} if policy_named(name).draws else {}),
    }
    for name in policy_names()
]
TOKENS = 24


def config(ask: Any, settings: dict[str, Any]) -> Any:
    return ask.config({key: value for key, value in settings.items() if key != "seed"})


def test_a_batch_of_all_policies_agrees(ask: Any, agree: Any, moi_server: Any, qwen2: Path) -> None:
    texts = ask.prompts("family", count=len(SETTINGS))
    outputs = moi_server.generate(texts, [ask.greedy(each, max_new_tokens=TOKENS) for each in SETTINGS])
    agree(qwen2, texts, [config(ask, each) for each in SETTINGS], outputs, max_new_tokens=TOKENS)
    for settings, output in zip(SETTINGS, outputs, strict=True):
        assert output["meta_info"]["moi"].get("seed") == settings.get("seed")
        assert (output["meta_info"]["moi"]["mixed_tokens"] == 0) == (settings["policy"] == "token")


def test_retractions_change_nothing(ask: Any, agree: Any, retracting_server: Any) -> None:
    """All of them draw: which are retracted is the server's choice."""
    chosen = [each for each in SETTINGS if "seed" in each] * 6
    texts = ask.prompts("family retracted", len(chosen))
    outputs = retracting_server.generate(texts, [ask.greedy(each, max_new_tokens=48) for each in chosen])
    agree(retracting_server.model, texts, [config(ask, each) for each in chosen], outputs, max_new_tokens=48)
    retracted = [output["meta_info"]["num_retractions"] for output in outputs]
    assert any(retracted)
    for settings, output, count in zip(chosen, outputs, retracted, strict=True):
        if settings["policy"] not in ("token", "selar", "router"):  # these may have fed every token plainly
            assert (output["meta_info"]["moi"]["replayed_tokens"] > 0) == (count > 0)


@pytest.mark.parametrize("policy", ["gumbel", "multiplex"])
def test_a_seed_repeats_a_text_alone_and_in_a_batch(
    policy: str, ask: Any, agree: Any, moi_server: Any, qwen2: Path
) -> None:
    """Alone to the bit. The rows beside decide how sums are rounded, so a batch is held to the torch engine."""
    (text,), settings = ask.prompts("repeated", 1), {"policy": policy, **PARAMETERS[policy], "per_token": True}

    def alone(settings: dict[str, Any]) -> Any:
        moi_server.flush()  # a cached prefix is another shape of prefill
        return moi_server.generate(text, ask.greedy(settings, max_new_tokens=TOKENS))

    free = alone(settings)
    seed = free["meta_info"]["moi"]["seed"]
    assert 0 <= seed < 2**48
    again = alone({**settings, "seed": seed})
    assert (again["output_ids"], again["meta_info"]["moi"]) == (free["output_ids"], free["meta_info"]["moi"])
    seeds = [seed + 1, seed + 2, seed, *range(seed + 3, seed + 8)]
    asked = [ask.greedy({**settings, "seed": each}, max_new_tokens=TOKENS) for each in seeds]
    batch = moi_server.generate([text] * 8, asked)
    assert [output["meta_info"]["moi"]["seed"] for output in batch] == seeds
    agree(qwen2, [text] * 9, [config(ask, settings)] * 9, [free, *batch], max_new_tokens=TOKENS)


def test_the_seed_of_the_sampler_is_taken_and_bad_ones_are_refused(ask: Any, moi_server: Any) -> None:
    (text,) = ask.prompts("seeds", 1)
    output = moi_server.generate(text, ask.greedy({"policy": "gumbel"}, max_new_tokens=4, sampling_seed=77))
    assert output["meta_info"]["moi"]["seed"] == 77
    for bad in (-1, 2**63, 1.5, "7", True, [1]):
        body = {"input_ids": text, "sampling_params": ask.greedy({"policy": "gumbel", "seed": bad}, max_new_tokens=4)}
        status, reason = moi_server.request("POST", "/generate", body)
        assert (status, "seed=" in reason) == (400, True), reason
    assert "seed" not in moi_server.generate(text, ask.greedy({"policy": "moi"}, max_new_tokens=4))["meta_info"]["moi"]
