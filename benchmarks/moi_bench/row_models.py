"""What rows of each kind hold, checked where they are read: files are edited, cut short, and come from other versions.

Fields that no table reads may be missing or be anything. Older files lack those with a default.
"""

from __future__ import annotations

import functools
from typing import Annotated, Any

from pydantic import Discriminator, Field, Tag, TypeAdapter, ValidationError

from moi import PRESETS
from moi_bench.rows import Row
from moi_eval.models import Count, Environment, Number, ReadModel, complaint

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
    """Output tokens per second over the turns."""

    tokens_per_s: Spread


class Pair(ReadModel):
    """Ratios to transformers' generate."""

    plain: Spread
    moi: Spread


class OpCase(ReadModel):
    """As `moi_bench.op.OpCase` is written."""

    name: str
    rows: Count
    vocab: Count
    width: Count
    dtype: str
    preset: Annotated[str, Field(pattern=f"^({'|'.join(PRESETS)})$")]
    top_k: Count | None = None
    policy: str = "moi"


class EngineCase(ReadModel):
    """As `moi_bench.engine.cases.EngineCase` is written."""

    name: str
    model: str
    batch: Count
    context: Count
    new_tokens: Count
    vocab: Count
    real: bool = False


class ServeCase(ReadModel):
    """As `moi_bench.serve.ServeCase` is written."""

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


class Rates(ReadModel):
    """Output tokens per second without and with the plugin."""

    plain: Positive
    moi: Positive


class DecodeRow(Environment):
    """`python -m moi_bench.sglang_decode` and `vllm_decode`: throughput with the plugin over that without; idle: on,
    with every request plain.
    """

    shape: str
    batch: Count
    tokens_per_second: Rates
    ratio: Positive
    ratio_p10: Positive
    ratio_p90: Positive
    added_us: Number
    target_ratio: Positive | None = None
    idle: bool = False


class HostRow(Environment):
    """`python -m moi_bench.sglang_decode` and `vllm_decode`: the plugin's host time, in microseconds."""

    piece: str
    batch: Count
    median_us: Number
    p10_us: Number | None = None
    p90_us: Number | None = None
    loop_us: Number | None = None
    target_us: Positive | None = None


class ONNXRow(Environment):
    """`python -m moi_bench.onnx_decode`: a decoding, or an export; its table reads what there is."""

    measure: str
    ms_per_token_median: Number | None = None
    ms_per_token_fastest_tenth: Number | None = None
    speed_of_torch_median: Number | None = None
    over_plain_median: Number | None = None
    seconds: Number | None = None
    peak_bytes: Number | None = None


class NamedCase(ReadModel):
    """A case of which the name alone is read."""

    name: str
    real: bool = False


class AbsentOp(Environment):
    """What could not be measured, and why."""

    case: NamedCase
    implementation: str
    status: str
    reason: str


class AbsentEngine(Environment):
    """What could not be measured, and why."""

    case: NamedCase
    engine: str
    status: str
    reason: str


def _tag(row: Row) -> str:
    """Rows of these kinds hold a reason instead of figures where nothing could be measured."""
    absent = row["kind"] in ("op", "engine", "serve") and row.get("status") != "ok"
    return f"{row['kind']}{' absent' * absent}"


AnyRow = Annotated[
    Annotated[OpRow, Tag("op")]
    | Annotated[EngineRow, Tag("engine")]
    | Annotated[ServeRow, Tag("serve")]
    | Annotated[DecodeRow, Tag("sglang")]
    | Annotated[HostRow, Tag("host")]
    | Annotated[DecodeRow, Tag("vllm")]
    | Annotated[HostRow, Tag("vllm_host")]
    | Annotated[ONNXRow, Tag("onnx")]
    | Annotated[AbsentOp, Tag("op absent")]
    | Annotated[AbsentEngine, Tag("engine absent")]
    | Annotated[AbsentEngine, Tag("serve absent")],
    Discriminator(_tag),
]
# What rows from before they said their kind say instead, or, of SGLang and vLLM, where one file holds two kinds.
_KINDS = {kind: kind for kind in ("op", "engine", "serve")}
_WHATS = {"decode throughput": "sglang", "host time per decode step": "host"}
_VLLM = {"decode throughput": "vllm", "host time per decode step": "vllm_host"}
_MEASURES = {"export": "onnx", "decode": "onnx"}


def check(row: Row, where: str) -> str:
    """The kind of a row; ValueError that names the row and the field that is missing or not what it must be."""
    kind = _kind(row, where)
    try:
        _adapter().validate_python({**row, "kind": kind})
    except ValidationError as error:
        raise ValueError(complaint(error, where, outer=1)) from None
    return kind


@functools.cache
def _adapter() -> TypeAdapter[Any]:
    return TypeAdapter(AnyRow)


def _kind(row: Row, where: str) -> str:
    whats = _VLLM if row.get("kind") == "vllm" else _WHATS
    for key, kinds in (("what", whats), ("measure", _MEASURES), ("kind", _KINDS)):
        if key in row:
            if row[key] not in [*kinds]:  # it may be a list, which no table finds
                raise ValueError(f"{where} has {key}={row[key]!r}; allowed: {', '.join(kinds)}")
            return kinds[row[key]]
    if "floor_us" in row:
        return "op"
    raise ValueError(f"{where} has no kind; allowed: {', '.join(_KINDS)}")
