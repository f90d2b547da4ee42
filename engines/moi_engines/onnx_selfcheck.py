"""Does an exported folder decode as the torch engine does?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from moi import MoIConfig
from moi_engines.protocol import SamplingParams
from moi_onnx.manifest import MODEL, Manifest, read_manifest

if TYPE_CHECKING:
    from moi_engines.parity import Parity

_TOKENS = 8
_PROMPTS = ((5, 3, 8, 1), (2, 7), (4, 4, 6, 9, 1, 2, 3), (6,))


def check_structure(folder: Path) -> None:
    """ValueError if onnx.checker refuses the model; the model's weights stay on the disk."""
    import onnx

    try:
        onnx.checker.check_model(str(folder / MODEL))
    except onnx.checker.ValidationError as error:
        raise ValueError(f"onnx.checker refuses {folder / MODEL}: {error}") from error


def compare(model: Path, folder: Path, new_tokens: int = _TOKENS) -> Parity:
    """A few tokens of ragged, greedy and sampled rows: the folder against the torch engine on `model`."""
    from moi_engines.onnx_engine import ONNXEngine
    from moi_engines.parity import TOLERANCES, Cases, judge
    from moi_engines.parity_reference import Reference

    _, manifest = read_manifest(folder)
    new_tokens = min(new_tokens, (manifest.positions or new_tokens + 8) - max(map(len, _PROMPTS)))
    if new_tokens < 1:
        raise ValueError(f"max_length={manifest.max_length} is too short for the self-check; use --skip-check")
    prompts = [[token % manifest.vocab for token in prompt] for prompt in _PROMPTS]
    sampling = [
        SamplingParams(temperature=t, top_p=p, max_new_tokens=new_tokens, seed=row, ignore_eos=True)
        for row, (t, p) in enumerate([(0.0, 1.0), (1.0, 1.0), (0.7, 1.0), (1.0, 0.9)])
    ]
    moi = [graph_config(manifest, beta=beta) for beta in (1.0, 0.25, 0.0, 0.5)]
    kind = manifest.quantize or manifest.dtype
    outputs = ONNXEngine(folder, provider="cpu").generate(prompts, sampling, moi)
    reference = Reference(model, weights=kind, source=manifest.dtype)
    return judge(reference, Cases(prompts, sampling, moi), outputs, TOLERANCES[kind])


def graph_config(manifest: Manifest, **settings: Any) -> MoIConfig:
    """A MoIConfig that the folder's graph can serve."""
    fixed: dict[str, Any] = {"top_k": manifest.top_k, "entropy": manifest.entropy, "prior": manifest.prior}
    return MoIConfig(policy="moi" if manifest.mixing else "token", **fixed | settings)
