"""DeciLM (nemotron-nas): layers of unlike shape, some without attention or feed-forward, held to a forward of our own.

transformers has no such model: a checkpoint brings the code of its configuration, and SGLang wants --trust-remote-code.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.functional import rms_norm, scaled_dot_product_attention, silu

from moi import MoIConfig, embed, mix

VOCAB, WIDTH, HEADS, GROUP, TOKENS = 258, 64, 4, 2, 48
HEAD, EPS, THETA = WIDTH // HEADS, 1e-5, 500000.0
SCALING = {
    **{"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0},
    "original_max_position_embeddings": 64,
}
# (has attention, width of the feed-forward or 0), and the multiplier that the configuration says it with.
LAYERS = ((True, 256), (False, 512), (True, 0), (True, 512))
MULTIPLIER = {0: None, 256: 2.0, 512: 8.0}
TOLERANCE = 1e-3  # of a log-probability: float32 in another order of sums

CONFIGURATION = """
from transformers import PretrainedConfig


class Block(dict):
    def __getattr__(self, name):
        try:
            return self[name]
        except KeyError as error:
            raise AttributeError(name) from error


class DeciLMConfig(PretrainedConfig):
    model_type = "nemotron-nas"

    def __init__(self, block_configs=(), **settings):
        self.block_configs = [Block({key: Block(part) for key, part in each.items()}) for each in block_configs]
        super().__init__(**settings)
"""


def block(attention: bool, width: int) -> dict[str, Any]:
    return {
        "attention": {"no_op": not attention, "replace_with_linear": False, "n_heads_in_group": GROUP},
        "ffn": {"no_op": not width, "replace_with_linear": False, "ffn_mult": MULTIPLIER[width]},
    }


CONFIG = {
    "architectures": ["DeciLMForCausalLM"],
    "auto_map": {"AutoConfig": "configuration_decilm.DeciLMConfig"},
    "model_type": "nemotron-nas",
    "block_configs": [block(*layer) for layer in LAYERS],
    **{"hidden_size": WIDTH, "num_attention_heads": HEADS, "num_hidden_layers": len(LAYERS), "vocab_size": VOCAB},
    **{"intermediate_size": None, "num_key_value_heads": None, "hidden_act": "silu", "rms_norm_eps": EPS},
    **{"rope_theta": THETA, "rope_scaling": SCALING, "max_position_embeddings": 512, "attention_bias": False},
    **{"tie_word_embeddings": False, "pad_token_id": 0, "bos_token_id": None, "eos_token_id": 1, "dtype": "float32"},
}


def random_weights(seed: int) -> dict[str, Tensor]:
    """By the names of the published checkpoints."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator) * 0.15

    weights = {"model.embed_tokens.weight": normal(VOCAB, WIDTH)}
    weights["lm_head.weight"] = 0.3 * normal(VOCAB, WIDTH)  # mixtures of sharper choices multiply rounding errors
    weights["model.norm.weight"] = 3 + normal(WIDTH)
    for index, (attention, width) in enumerate(LAYERS):
        at, shapes = f"model.layers.{index}", {}
        if attention:
            weights[f"{at}.input_layernorm.weight"] = 1 + normal(WIDTH)
            wide, narrow = (HEADS * HEAD, WIDTH), (HEADS // GROUP * HEAD, WIDTH)
            shapes |= {"self_attn.q_proj": wide, "self_attn.k_proj": narrow, "self_attn.v_proj": narrow}
            shapes["self_attn.o_proj"] = (WIDTH, HEADS * HEAD)
        if width:
            weights[f"{at}.post_attention_layernorm.weight"] = 1 + normal(WIDTH)
            shapes |= {"mlp.gate_proj": (width, WIDTH), "mlp.up_proj": (width, WIDTH), "mlp.down_proj": (WIDTH, width)}
        weights |= {f"{at}.{name}.weight": normal(*shape) for name, shape in shapes.items()}
    return weights


class Reference:
    """Logits [T,V] of inputs [T,D], by the published definition: Llama's layers, of which some have no such part."""

    def __init__(self, weights: dict[str, Tensor]) -> None:
        self._weights = weights
        self.table = weights["model.embed_tokens.weight"]

    def __call__(self, x: Tensor) -> Tensor:
        angles = torch.arange(len(x), dtype=torch.float32)[:, None] * frequencies()
        for index, (attention, width) in enumerate(LAYERS):
            at = f"model.layers.{index}"
            if attention:
                x = x + self._attention(f"{at}.self_attn", self._norm(f"{at}.input_layernorm", x), angles)
            if width:
                h = self._norm(f"{at}.post_attention_layernorm", x)
                gated = silu(self._linear(f"{at}.mlp.gate_proj", h)) * self._linear(f"{at}.mlp.up_proj", h)
                x = x + self._linear(f"{at}.mlp.down_proj", gated)
        return self._linear("lm_head", self._norm("model.norm", x))

    def _attention(self, at: str, h: Tensor, angles: Tensor) -> Tensor:
        q, k, v = (self._linear(f"{at}.{name}_proj", h).unflatten(1, (-1, HEAD)).transpose(0, 1) for name in "qkv")
        q, k = rotated(q, angles), rotated(k, angles)
        k, v = (each.repeat_interleave(GROUP, 0) for each in (k, v))
        mixed = scaled_dot_product_attention(q, k, v, is_causal=True)
        return self._linear(f"{at}.o_proj", mixed.transpose(0, 1).flatten(1))

    def _linear(self, name: str, h: Tensor) -> Tensor:
        return h @ self._weights[f"{name}.weight"].T

    def _norm(self, name: str, h: Tensor) -> Tensor:
        return rms_norm(h, (WIDTH,), self._weights[f"{name}.weight"], EPS)


def frequencies() -> Tensor:
    """[HEAD / 2], with Llama 3's scaling: long waves are stretched, short ones kept, in between is interpolated."""
    plain = THETA ** (-torch.arange(0, HEAD, 2) / HEAD)
    low, high = SCALING["low_freq_factor"], SCALING["high_freq_factor"]
    turns = SCALING["original_max_position_embeddings"] * plain / (2 * math.pi)
    kept = ((turns - low) / (high - low)).clamp(0, 1)
    return kept * plain + (1 - kept) * plain / SCALING["factor"]


def rotated(x: Tensor, angles: Tensor) -> Tensor:
    """x [H,T,HEAD], whose halves are the coordinates that turn by `angles` [T,HEAD / 2]."""
    a, b = x.chunk(2, -1)
    return torch.cat([a * angles.cos() - b * angles.sin(), b * angles.cos() + a * angles.sin()], -1)


@torch.inference_mode()
def followed(model: Reference, prompt: list[int], tokens: list[int], config: MoIConfig) -> list[dict[str, float]]:
    """Along SGLang's own tokens: how far each is from the best one, and the numbers of its mixture.

    Until rounding decides: of three twins whose inputs are a little off one has gone another way by then, or the last
    candidate of a mixture ties with one that has no part in it.
    """
    x, twins, steps = model.table[prompt], [model.table[prompt]] * 3, []
    error = torch.Generator().manual_seed(0)
    for token in tokens:
        logits, others, sampled = model(x)[-1:], [model(twin)[-1:] for twin in twins], torch.tensor([token])
        if max(float((logits.softmax(-1) - other.softmax(-1)).abs().sum()) for other in others) > TOLERANCE / 10:
            break
        logprobs = logits.log_softmax(-1)[0]
        mixture = mix(logits, sampled, config)
        weight = mixture.weights[mixture.ids == token].sum()
        behind = logprobs.max() - logprobs[token]
        numbers = {"behind": behind, "entropy": mixture.entropy[0], "intervention": 1 - weight}
        steps.append({name: float(value) for name, value in numbers.items()})
        off = max(float((logits - other).abs().max()) for other in others)
        last, left_out = logits.topk(config.top_k + 1).values[0, -2:]
        if config.policy != "token" and last - left_out < 4 * off:
            break
        x = torch.cat([x, embed(mixture, model.table)])
        fed = [embed(mix(other, sampled, config), model.table) for other in others]
        fed = [each * (1 + 3e-6 * torch.randn(each.shape, generator=error)) for each in fed]
        twins = [torch.cat(pair) for pair in zip(twins, fed, strict=True)]
    return steps


@pytest.fixture(scope="module")
def weights(base_seed: int) -> dict[str, Tensor]:
    return random_weights(base_seed)


@pytest.fixture(scope="module")
def server(make_server: Any, tiny_model: Any, weights: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("nemotron") / "nas"
    shutil.copytree(tiny_model("llama"), folder, ignore=shutil.ignore_patterns("*.safetensors"))
    (folder / "config.json").write_text(json.dumps(CONFIG))
    (folder / "configuration_decilm.py").write_text(CONFIGURATION)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    flags = ("--trust-remote-code", "--chunked-prefill-size", "32", "--disable-overlap-schedule")
    with make_server(folder, "--enable-moi", *flags) as running:
        yield running


SETTINGS: list[dict[str, Any]] = [{"beta": 1.0}, {"policy": "token"}, {"beta": 0.0}, {"beta": 0.25}, {"beta": 4.0}]


def test_mixed_and_plain_requests_choose_what_the_reference_would(ask: Any, server: Any, weights: Any) -> None:
    model, texts = Reference(weights), ask.prompts("nemotron", count=len(SETTINGS))
    outputs = server.generate(
        texts, [ask.greedy({**each, "per_token": True}, max_new_tokens=TOKENS) for each in SETTINGS]
    )
    judged, difference = 0, 0.0
    for settings, text, output in zip(SETTINGS, texts, outputs, strict=True):
        told, tokens = output["meta_info"]["moi"], output["output_ids"]
        steps = followed(model, text, tokens, ask.config(settings))
        assert len(tokens) == TOKENS
        judged += len(steps)
        assert max(step["behind"] for step in steps) < TOLERANCE, settings
        assert told["entropy"][: len(steps)] == pytest.approx([step["entropy"] for step in steps], abs=2e-3)
        if "beta" in settings:
            interventions = [step["intervention"] for step in steps]
            assert told["intervention"][: len(steps)] == pytest.approx(interventions, abs=2e-3)
            assert told["mixed_tokens"] == TOKENS - 1
            assert told["mean_intervention"] > 0.02
            plain = followed(model, text, tokens, MoIConfig("token"))
            difference = max(difference, *(step["behind"] for step in plain))
        else:
            assert told["mean_intervention"] == told["mixed_tokens"] == 0
    assert difference > 10 * TOLERANCE, "the mixtures make no difference"
    assert judged >= TOKENS * len(SETTINGS) / 4, "rounding decides nearly all tokens"


def test_a_plain_request_reports_nothing(ask: Any, server: Any) -> None:
    output = server.generate([5, 6, 7], ask.greedy({"policy": "token"}, max_new_tokens=4))
    assert "moi" not in output["meta_info"]
