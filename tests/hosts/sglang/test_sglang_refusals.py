"""With MoI enabled, what cannot work stops the start with one line that names the flag and the reason."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from moi import MoIConfig
from moi_serving.embedding import find_embedding
from moi_serving.metrics import Metrics
from moi_serving.settings import RequestSettings, ServerSettings, request_settings
from moi_sglang import flags, hooks
from moi_sglang.compatibility import unsuitable, untested
from moi_sglang.requests import RequestInitialisation


def model(vocab_size: int = 258, generates: bool = True, **changes: Any) -> Any:
    text = SimpleNamespace(model_type="qwen2", **changes)
    return SimpleNamespace(hf_config=text, hf_text_config=text, vocab_size=vocab_size, is_generation=generates)


@pytest.mark.parametrize(
    "field",
    [
        {"hidden_size_per_layer_input": 256},
        {"ngram_vocab_size_ratio": 2},
        {"engram_layer_ids": [1]},
        {"ple_layer_ids": [0]},
        {"num_hash_layers": 3},
        {"n_hash_layers": 3},
    ],
    ids=lambda value: next(iter(value)),
)
def test_a_model_that_reads_ids_inside_its_layers(field: dict[str, Any]) -> None:
    (told,) = unsuitable(model(**field), ServerSettings())
    assert "reads token ids inside its layers" in told
    assert next(iter(field)) in told


def test_an_untested_version_unless_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "0.6.0")
    (told,) = untested(ServerSettings())
    assert told.startswith("sglang 0.6.0 is untested (tested: 0.5.23); --moi-allow-untested")
    assert not list(untested(ServerSettings(allow_untested=True)))


def test_more_candidates_than_the_vocabulary_has_ids() -> None:
    (told,) = unsuitable(model(vocab_size=10), ServerSettings())
    assert told == "--moi-top-k 20 is not allowed; the model's vocabulary has 10 ids"


def test_a_last_token_that_the_model_does_not_have() -> None:
    (told,) = unsuitable(model(), ServerSettings(mix_until=258))
    assert told == "--moi-until 258 is not allowed; the model's vocabulary has 258 ids"


def test_a_model_that_does_not_generate() -> None:
    assert list(unsuitable(model(generates=False), ServerSettings())) == [
        "--model-path does not go with --enable-moi: the model does not generate"
    ]


def test_an_ambiguous_embedding() -> None:
    ambiguous = torch.nn.ModuleDict({"a": torch.nn.ModuleDict({"wte": torch.nn.Embedding(9, 2)})})
    assert find_embedding(ambiguous, 9) is ambiguous["a"]["wte"]
    ambiguous["b"] = torch.nn.ModuleDict({"embed_tokens": torch.nn.Embedding(9, 2)})
    with pytest.raises(ValueError, match=r"input embedding of ModuleDict is ambiguous .*a\.wte, b\.embed_tokens"):
        find_embedding(ambiguous, 9)
    with pytest.raises(ValueError, match="candidates: none"):
        find_embedding(ambiguous, 10)


def test_a_model_whose_method_embeds_ids_instead_of_naming_its_embedding() -> None:
    class Decoder(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed_tokens = torch.nn.Embedding(9, 2)

        def get_input_embeddings(self, input_ids: torch.Tensor) -> Any:
            return self.embed_tokens(input_ids)

    decoder = Decoder()
    assert find_embedding(decoder, 9) is decoder.embed_tokens


def test_a_mistake_in_a_models_own_method_is_not_taken_for_a_model_without_one() -> None:
    class Broken(torch.nn.Module):
        def get_input_embeddings(self) -> Any:
            raise TypeError("a mistake")

    with pytest.raises(TypeError, match="a mistake"):
        find_embedding(Broken(), 9)


@pytest.mark.parametrize("name", ["input_embeds", "positional_embed_overrides"])
def test_inputs_that_are_no_tokens(name: str) -> None:
    given = {"session_params": None, "session_id": None, "input_embeds": None, "positional_embed_overrides": None}
    received = SimpleNamespace(**{**given, name: [[0.0]]}, return_logprob=False, logprob_start_len=-1)
    scheduler = SimpleNamespace(enable_session_radix_cache=False, model_config=SimpleNamespace(vocab_size=258))
    for policy, said in (("moi", [f"{name} does not go with mixing"]), ("token", [])):
        told: list[str] = []
        params = SimpleNamespace(custom_params={"moi": {"policy": policy}}, beam_width=None, sampling_seed=None)
        req = SimpleNamespace(rid="r", sampling_params=params, set_finish_with_abort=told.append)
        RequestInitialisation(ServerSettings(), Metrics()).created(req, scheduler, received)
        assert [each.partition(";")[0] for each in told] == said


def test_flags_win_over_the_environment_which_wins_over_the_preset() -> None:
    environ = {"MOI_ENABLE": "1", "MOI_PRESET": "paper", "MOI_BETA": "0.5", "MOI_UNTIL": "7"}
    assert flags.server_settings({}, {}) is None
    settings = flags.server_settings({"moi_beta": 2.0}, environ)
    assert settings == ServerSettings(MoIConfig.preset("paper", beta=2.0), mix_until=7)
    with pytest.raises(ValueError, match="MOI_BETA='x' is not allowed"):
        flags.server_settings({"enable_moi": True}, {"MOI_BETA": "x"})


def test_parameters_come_from_flags_python_and_the_environment() -> None:
    on = {"enable_moi": True}
    environ = {"MOI_PARAM_BETA": "0.25"}
    assert flags.server_settings(on, environ) == ServerSettings(MoIConfig(beta=0.25))
    assert flags.server_settings(on, {**environ, "MOI_BETA": "0.5"}) == ServerSettings(MoIConfig(beta=0.5))
    for given in (["beta=2"], {"beta": 2.0}):
        settings = flags.server_settings({**on, "moi_param": given}, {**environ, "MOI_BETA": "0.5"})
        assert settings == ServerSettings(MoIConfig(beta=2.0))
    for given, reason in (
        ({"moi_param": ["beta"]}, "'beta' is not allowed; write it as name=number"),
        ({"moi_param": ["beta=1", "beta=2"]}, "'beta' is given twice"),
        ({"moi_param": ["beta=1"], "moi_beta": 2.0}, "beta is given twice: by --moi-beta and by --moi-param"),
        ({"moi_param": ["gamma=1"]}, "moi key 'gamma' is unknown; allowed: policy, beta"),
        ({"moi_policy": "direct", "moi_beta": 2.0}, "policy 'direct' has no parameter 'beta'.*: none"),
    ):
        with pytest.raises(ValueError, match=reason):
            flags.server_settings({**on, **given}, {})


@pytest.mark.parametrize(
    ("server", "given", "wanted"),
    [
        (MoIConfig(beta=2), {}, MoIConfig(beta=2)),
        (MoIConfig(beta=2), {"policy": "moi"}, MoIConfig(beta=2)),
        (MoIConfig(beta=2, top_k=5), {"beta": 3}, MoIConfig(beta=3, top_k=5)),
        (MoIConfig("token"), {}, MoIConfig()),
        (MoIConfig("token"), {"beta": 3}, MoIConfig(beta=3)),
        (MoIConfig("direct"), {}, MoIConfig("direct")),
        (MoIConfig("direct"), {"policy": "moi", "beta": 3}, MoIConfig(beta=3)),
        (MoIConfig(beta=2), {"policy": "direct"}, MoIConfig("direct")),
    ],
    ids=repr,
)
def test_a_request_starts_from_the_servers_settings(server: MoIConfig, given: Any, wanted: MoIConfig) -> None:
    settings = request_settings({"moi": given}, ServerSettings(server))
    assert settings == RequestSettings(wanted)


def test_a_sweep_over_beta_on_a_server_of_another_policy_is_refused_and_not_run_without_it() -> None:
    server = ServerSettings(MoIConfig("direct"))
    with pytest.raises(ValueError, match=r"policy 'direct' has no parameter 'beta', which is one of: moi; .*: none"):
        request_settings({"moi": {"beta": 3}}, server)


@pytest.fixture(scope="module")
def child(run_child: Any, qwen2: Path) -> Any:
    return run_child("hooks_child.py", qwen2)


def test_without_the_flag_only_flags_are_hooked(child: Any) -> None:
    assert child["loaded"] == sorted(hook.target for hook in hooks.LOAD)
    assert len(child["enabled"]) > len(child["loaded"])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", ""),
        ("--enable-mixed-chunk", "MoI: --enable-mixed-chunk does not go with --enable-moi: it turns decode rows into"),
        (
            "--tp-size 2 --dp-size 2 --enable-dp-attention",
            "MoI: --enable-dp-attention does not go with --enable-moi: a rank embeds tokens that another rank sampled",
        ),
        ("--moi-beta -1", "--enable-moi: beta=-1.0 is not allowed; beta must be a number >= 0"),
        ("--moi-top-k 64 --moi-policy nonsense", "--enable-moi: policy='nonsense' is unknown"),
    ],
)
def test_real_arguments(line: str, message: str, child: Any) -> None:
    assert child["told"][line].startswith(message)
    assert bool(message) == bool(child["told"][line])


def test_a_hook_target_that_sglang_renamed(child: Any) -> None:
    assert len(child["broken"]) == 3
    for target, told in child["broken"].items():
        assert f"sglang.srt.{target} is missing" in told


def test_the_installed_sglang_keeps_the_contract(child: Any) -> None:
    assert child["contract"] == []


def test_a_refused_server_ends_with_the_reason(sglang_env: Any, qwen2: Path) -> None:
    command = [sys.executable, "-m", "sglang.launch_server", "--model-path", str(qwen2), "--device", "cpu"]
    done = subprocess.run(
        [*command, "--enable-moi", "--enable-mixed-chunk"],
        env=sglang_env(),
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode != 0
    told = [line for line in done.stderr.splitlines() if "MoI: --enable-mixed-chunk does not go with" in line]
    assert told, done.stderr[-4000:]
