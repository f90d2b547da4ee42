"""What rows of each kind hold, checked where they are read: files are edited, cut short, and come from other versions.

Fields that no table reads may be missing or be anything. Older files lack those with a default.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from moi import PRESETS
from moi_bench.rows import Row

Number = Annotated[float, Field(allow_inf_nan=False)]
Size = Annotated[Number, Field(ge=0)]
Positive = Annotated[Number, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]


class _Model(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")


class Environment(_Model):
    """The machine, versions and command of a row."""

    device: str
    command: str
    versions: dict[str, str | None]
    driver: str | None = None
    commit: str | None = None
    note: str | None = None


class Spread(_Model):
    """Median and deciles over the turns of a run."""

    median: Positive
    p10: Size
    p90: Positive


class Side(_Model):
    """One side of a pair: output tokens/s, and milliseconds to the first and for each later token."""

    tokens_per_s: Spread
    ttft_ms: Spread
    tpot_ms: Spread
    peak_bytes: Positive | None = None


class Rate(_Model):
    tokens_per_s: Spread


class Pair(_Model):
    """Ratios to transformers' generate."""

    plain: Spread
    moi: Spread


class OpCase(_Model):
    name: str
    rows: Count
    vocab: Count
    width: Count
    dtype: str
    preset: Annotated[str, Field(pattern=f"^({'|'.join(PRESETS)})$")]
    top_k: Count | None = None


class EngineCase(_Model):
    name: str
    model: str
    batch: Count
    context: Count
    new_tokens: Count
    vocab: Count
    real: bool = False


class ServeCase(_Model):
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


class NamedCase(_Model):
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


MEASURED: dict[str, type[_Model]] = {
    "environment": Environment,
    "op": OpRow,
    "engine": EngineRow,
    "serve": ServeRow,
    "sglang": SGLangRow,
    "host": HostRow,
    "onnx": ONNXRow,
}
ABSENT: dict[str, type[_Model]] = {"op": AbsentOp, "engine": AbsentEngine, "serve": AbsentEngine}


def check(row: Row, kind: str, where: str) -> None:
    """ValueError that names the row and the field that is missing or not what it must be."""
    absent = kind in ABSENT and row.get("status") != "ok"
    validate((ABSENT if absent else MEASURED)[kind], row, where)


def validate(model: type[BaseModel], value: Any, where: str) -> None:
    """ValueError that names the first field of `value` that does not fit the model."""
    try:
        model.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        path = ".".join(map(str, first["loc"]))
        if first["type"] == "missing":
            raise ValueError(f"{where} lacks {path!r}; rows are read as moi bench writes them") from None
        raise ValueError(f"{where} has {path}={first['input']!r}: {first['msg']}") from None
