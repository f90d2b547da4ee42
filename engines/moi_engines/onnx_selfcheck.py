"""Does an exported folder decode as the torch engine does?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moi import MoIConfig
from moi_engines.protocol import Generation, SamplingParams
from moi_onnx.manifest import MODEL, Manifest, read_manifest

_TOKENS = 8
_PROMPTS = ((5, 3, 8, 1), (2, 7), (4, 4, 6, 9, 1, 2, 3))


@dataclass(frozen=True)
class Divergence:
    """How far two runs agree: tokens compared, tokens before each row's first difference, rows that differ."""

    tokens: int
    agreeing: int
    rows: int

    def __str__(self) -> str:
        return f"{self.agreeing} of {self.tokens} tokens before the first difference, {self.rows} rows differ"


def check_structure(folder: Path) -> None:
    """ValueError if onnx.checker refuses the model; the model's weights stay on the disk."""
    import onnx

    try:
        onnx.checker.check_model(str(folder / MODEL))
    except onnx.checker.ValidationError as error:
        raise ValueError(f"onnx.checker refuses {folder / MODEL}: {error}") from error


def compare(model: Path, folder: Path, new_tokens: int = _TOKENS) -> Divergence:
    """A few tokens of ragged, greedy and sampled rows: the folder against the torch engine on `model`."""
    _, manifest = read_manifest(folder)
    new_tokens = min(new_tokens, (manifest.positions or new_tokens + 8) - max(map(len, _PROMPTS)))
    if new_tokens < 1:
        raise ValueError(f"max_length={manifest.max_length} is too short for the self-check; use --skip-check")
    prompts = [[token % manifest.vocab for token in prompt] for prompt in _PROMPTS]
    sampling = [SamplingParams(temperature=t, max_new_tokens=new_tokens, ignore_eos=True) for t in (0.0, 1.0, 0.7)]
    expected = _torch_tokens(model, manifest, prompts, sampling)
    return divergence(_onnx_tokens(folder, manifest, prompts, sampling), expected)


def divergence(actual: Sequence[Generation], expected: Sequence[Generation]) -> Divergence:
    agreeing = [_common(a.token_ids, e.token_ids) for a, e in zip(actual, expected, strict=True)]
    lengths = [len(row.token_ids) for row in expected]
    differ = sum(same < length for same, length in zip(agreeing, lengths, strict=True))
    return Divergence(sum(lengths), sum(agreeing), differ)


def graph_config(manifest: Manifest, **settings: Any) -> MoIConfig:
    """A MoIConfig that the folder's graph can serve."""
    fixed: dict[str, Any] = {"top_k": manifest.top_k, "entropy": manifest.entropy, "prior": manifest.prior}
    return MoIConfig(policy="moi" if manifest.mixing else "token", **fixed | settings)


def _torch_tokens(model: Path, manifest: Manifest, prompts: Any, sampling: Any) -> list[Generation]:
    from moi_engines.torch_engine import TorchEngine

    # The graph restates the reference's arithmetic.
    engine = TorchEngine(model, device="cpu", dtype=manifest.dtype, implementation="reference")
    return engine.generate(prompts, sampling, graph_config(manifest))


def _onnx_tokens(folder: Path, manifest: Manifest, prompts: Any, sampling: Any) -> list[Generation]:
    from moi_engines.onnx_engine import ONNXEngine

    return ONNXEngine(folder, provider="cpu").generate(prompts, sampling, graph_config(manifest))


def _common(a: Sequence[int], b: Sequence[int]) -> int:
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
