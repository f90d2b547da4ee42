"""What rows of each kind hold, checked where they are read: files are edited, cut short, and come from other versions.

Fields that no table reads may be missing or be anything. Older files lack those with a default.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from moi import PRESETS
from moi_bench.rows import Row
from moi_eval.models import Count, Environment, Number, ReadModel, validate

Size = Annotated[Number, Field(ge=0)]
Positive = Annotated[Number, Field(gt=0)]


class Spread(ReadModel):
    """Median and deciles over the turns of a run."""

    median: Positive
    p10: Size
    p90: Positive


class Side(ReadModel):
    """One side of a pair: output tokens/s, and milliseconds to the first and for each later token."""

    tokens_per_s: Spread
    ttft_ms: Spread
    tpot_ms: Spread
    peak_bytes: Positive | None = None


class Rate(ReadModel):
    tokens_per_s: Spread


class Pair(ReadModel):
    """Ratios to transformers' generate."""

    plain: Spread
    moi: Spread


class OpCase(ReadModel):
    name: str
    rows: Count
    vocab: Count
    width: Count
    dtype: str
    preset: Annotated[str, Field(pattern=f"^({'|'.join(PRESETS)})$")]
    top_k: Count | None = None


class EngineCase(ReadModel):
    name: str
    model: str
    batch: Count
    context: Count
    new_tokens: Count
    vocab: Count
    real: bool = False


class ServeCase(ReadModel):
    name: str
    model: str
    share: Positive
    concurrency: Count
    prompt_words: Count
    new_tokens: Count


class OpRow(Environment):
    """`moi bench op`; times in microseconds, bandwidth in bytes/s."""

    case: OpCase
    implementation: str
    median_us: Positive
    p10_us: Positive
    p90_us: Positive
    ratio_to_floor: Positive
    copy_bandwidth: Positive
    ratio_to_eager: Positive | None = None


class EngineRow(Environment):
    """`moi bench engines`; `transformers` and its ratios only of engines measured beside it."""

    case: EngineCase
    engine: str
    plain: Side
    moi: Side
    ratio: Spread
    transformers: Rate | None = None
    ratio_to_transformers: Pair | None = None


class ServeRow(Environment):
    """`moi bench serve`."""

    case: ServeCase
    engine: str
    plain: Side
    moi: Side
    ratio: Spread


class SGLangRow(Environment):
    """`python -m moi_bench.sglang_decode`: throughput with the plugin over that without."""

    shape: str
    batch: Count
    tokens_per_second: dict[str, Positive]
    ratio: Positive
    ratio_p10: Positive
    ratio_p90: Positive
    added_us: Number
    target_ratio: Positive | None = None


class HostRow(Environment):
    """`python -m moi_bench.sglang_decode`: the plugin's host time, in microseconds."""

    piece: str
    batch: Count
    median_us: Number
    p10_us: Number | None = None
    p90_us: Number | None = None
    target_us: Positive | None = None


class ONNXRow(Environment):
    """`python -m moi_bench.onnx_decode`; its table reads what there is."""

    measure: str


class NamedCase(ReadModel):
    name: str
    real: bool = False


class AbsentOp(Environment):
    """What could not be measured, and why."""

    case: NamedCase
    implementation: str
    reason: str


class AbsentEngine(Environment):
    """What could not be measured, and why."""

    case: NamedCase
    engine: str
    reason: str


MEASURED: dict[str, type[ReadModel]] = {
    "environment": Environment,
    "op": OpRow,
    "engine": EngineRow,
    "serve": ServeRow,
    "sglang": SGLangRow,
    "host": HostRow,
    "onnx": ONNXRow,
}
ABSENT: dict[str, type[ReadModel]] = {"op": AbsentOp, "engine": AbsentEngine, "serve": AbsentEngine}


def check(row: Row, kind: str, where: str) -> None:
    """ValueError that names the row and the field that is missing or not what it must be."""
    absent = kind in ABSENT and row.get("status") != "ok"
    validate((ABSENT if absent else MEASURED)[kind], row, where)
