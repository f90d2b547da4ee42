"""What to export, checked where the user says it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from moi import MoIConfig

VARIANTS = {"static": 24, "concat": 23}  # name -> opset
DTYPES = ("float32", "float16", "bfloat16")
FUNCTIONS = ("keep", "inline")
QUANTIZE = (None, "int4")
DEFAULT_CANDIDATES = 64
# TensorRT's TopK takes less than 3840 candidates, and the sampler's running sums grow with their square.
MAX_CANDIDATES = 1024


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """Settings of an export.

    variant     "static": one buffer of max_length positions per row, the subset TensorRT takes (opset 24);
                "concat": a cache that grows (opset 23)
    max_length  positions of the static cache: prompt and new tokens together; >= 2
    dtype       of weights and cache: "float32", "float16", "bfloat16"
    functions   "keep" moi::MixInputs and moi::MixEmbed as nodes with a body, or "inline" them
    quantize    None or "int4": weights of the linear layers, but the output layer, in blocks of 4-bit integers
    moi         K, entropy and prior of the graph; beta and policy stay inputs, row by row
    candidates  of the sampler, 1..1024; fewer than the vocabulary costs a look at the logits now and then
    mixing      False leaves the op out: plain decoding, to measure what the op costs

    Raises ValueError that names the setting, its value and what is allowed.
    """

    variant: str = "static"
    max_length: int = 2048
    dtype: str = "float32"
    functions: str = "keep"
    quantize: str | None = None
    moi: MoIConfig = field(default_factory=MoIConfig)
    candidates: int = DEFAULT_CANDIDATES
    mixing: bool = True

    def __post_init__(self) -> None:
        _choice("variant", self.variant, tuple(VARIANTS))
        _choice("dtype", self.dtype, DTYPES)
        _choice("functions", self.functions, FUNCTIONS)
        _choice("quantize", self.quantize, QUANTIZE)
        _integer("max_length", self.max_length, 2, None)
        _integer("candidates", self.candidates, 1, MAX_CANDIDATES)
        if self.quantize and self.dtype == "bfloat16":
            raise ValueError("quantize='int4' is not allowed with dtype='bfloat16'; use float32 or float16")

    @property
    def opset(self) -> int:
        """The least that has the variant's operators."""
        return VARIANTS[self.variant]


def _choice(key: str, value: Any, allowed: tuple[Any, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{key}={value!r} is unknown; allowed: {', '.join(str(name) for name in allowed)}")


def _integer(key: str, value: Any, least: int, most: int | None) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least or (most is not None and value > most):
        allowed = f">= {least}" if most is None else f"in {least}..{most}"
        raise ValueError(f"{key}={value!r} is not allowed; {key} must be an integer {allowed}")
