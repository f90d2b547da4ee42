"""Tables of a report as plain cells, so that HTML and Markdown show the same figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from moi_bench.report.results import Evaluation, is_real
from moi_bench.rows import Row
from moi_eval.summary_text import known, paired_cells, power_line, vote_lines
from moi_serving.slots.tables import Tables

# arXiv 2505.14827, Table 3: QwQ-32B on CountDown, vLLM, eager on both sides, output tokens/s.
PAPER_PLAIN, PAPER_MOI = 1143.31, 1101.44
PAPER_CHANGE = PAPER_MOI / PAPER_PLAIN - 1


@dataclass
class Table:
    """The first column is text, the others are figures."""

    head: list[str]
    rows: list[list[str]]
    reasons: list[str]


def op_table(rows: list[Row]) -> Table:
    """Of `moi bench op`."""
    head = ["case", "implementation", "median µs", "p10 to p90", "GB/s", "of copy", "speed-up over eager"]
    return Table(head, [_op_cells(row) for row in rows if row["status"] == "ok"], _reasons(rows, "implementation"))


def _op_cells(row: Row) -> list[str]:
    share = 1 / row["ratio_to_floor"]
    speedup = f"{1 / row['ratio_to_eager']:.2f}" if row.get("ratio_to_eager") else ""
    return [
        row["case"]["name"],
        row["implementation"],
        f"{row['median_us']:.1f}",
        f"{row['p10_us']:.1f} to {row['p90_us']:.1f}",
        f"{share * row['copy_bandwidth'] / 1e9:.2f}",
        f"{share:.1%}",
        speedup,
    ]


def engine_table(rows: list[Row]) -> Table:
    """Of `moi bench engines`."""
    head = ["case", "engine", "plain tok/s", "MoI tok/s", "change", "p10 to p90", "first token ms", "per token ms"]
    return Table(
        [*head, "peak MiB", "MoI / generate"],
        [_engine_cells(row) for row in rows if row["status"] == "ok"],
        _reasons(rows, "engine"),
    )


def _engine_cells(row: Row) -> list[str]:
    moi, peak = row["moi"], row["moi"].get("peak_bytes")
    return [
        row["case"]["name"],
        row["engine"],
        f"{row['plain']['tokens_per_s']['median']:.1f}",
        f"{moi['tokens_per_s']['median']:.1f}",
        *_change(row["ratio"]),
        f"{moi['ttft_ms']['median']:.1f}",
        f"{moi['tpot_ms']['median']:.2f}",
        "" if peak is None else f"{peak / 2**20:.0f}",
        _times(row, "moi"),
    ]


def real_table(rows: list[Row]) -> Table:
    """Engines on real models: MoI against plain decoding, and both against transformers' generate in the same turns."""
    rows = [row for row in rows if is_real(row)]
    head = ["real model", "engine", "generate tok/s", "plain tok/s", "MoI tok/s", "MoI against plain", "p10 to p90"]
    lines = [_real_cells(row) for row in rows if row["status"] == "ok"]
    return Table([*head, "plain / generate", "MoI / generate"], lines, _reasons(rows, "engine"))


def _real_cells(row: Row) -> list[str]:
    sides = (row.get("transformers"), row["plain"], row["moi"])
    return [
        row["case"]["name"],
        row["engine"],
        *("" if side is None else f"{side['tokens_per_s']['median']:.1f}" for side in sides),
        *_change(row["ratio"]),
        *(_times(row, side) for side in ("plain", "moi")),
    ]


def _times(row: Row, side: str) -> str:
    """Output tokens/s of a side over those of generate; empty where it was not measured beside it."""
    ratios = row.get("ratio_to_transformers")
    return f"{ratios[side]['median']:.2f}" if ratios else ""


def serve_table(rows: list[Row]) -> Table:
    """Of `moi bench serve`."""
    head = ["case", "engine", "MoI requests", "plain tok/s", "tok/s", "change", "p10 to p90"]
    head += ["first token ms", "per token ms"]
    return Table(head, [_serve_cells(row) for row in rows if row["status"] == "ok"], _reasons(rows, "engine"))


def _serve_cells(row: Row) -> list[str]:
    return [
        row["case"]["name"],
        row["engine"],
        _percent(row["case"]["share"]),
        f"{row['plain']['tokens_per_s']['median']:.1f}",
        f"{row['moi']['tokens_per_s']['median']:.1f}",
        *_change(row["ratio"]),
        f"{row['moi']['ttft_ms']['median']:.1f}",
        f"{row['moi']['tpot_ms']['median']:.2f}",
    ]


def _percent(share: float) -> str:
    return f"{100 * share:.3g}%"


def _change(ratio: dict[str, float]) -> list[str]:
    return [f"{ratio['median'] - 1:+.1%}", f"{ratio['p10'] - 1:+.1%} to {ratio['p90'] - 1:+.1%}"]


def title(evaluation: Evaluation) -> str:
    """What was evaluated, on which model."""
    settings = evaluation.settings
    samples = f"{settings['samples']} sample{'s' * (settings['samples'] > 1)} each"
    return (
        f"{settings['task']['name']}: {settings['task']['n']} problems, {samples}; model {settings['model']['name']}, "
        f"engine {settings['engine']}, at most {settings['max_new_tokens']} tokens"
    )


def eval_table(evaluation: Evaluation) -> Table:
    """Of `moi eval`."""
    head = ["decoding", "solved", "95 % interval", "against plain, points", "won/lost", "p", "p (Holm)"]
    head += ["tokens", "cut", "repeated", "entropy", "intervention"]
    below = [*vote_lines(evaluation.arms), *filter(None, [power_line(evaluation.arms)])]
    return Table(head, [_arm_cells(arm) for arm in evaluation.arms], below)


def _arm_cells(arm: dict[str, Any]) -> list[str]:
    if arm["share"] is None:
        return [arm["label"], f"{arm['done']} of {arm['wanted']} done", *[""] * 10]
    paired = [""] * 4 if arm["paired"] is None else paired_cells(arm["paired"])
    means = [f"{arm['mean_tokens']:.1f}", known(arm["cut"], ".1%"), known(arm["repeated"], ".1%")]
    means += [known(arm["mean_entropy"], ".3f"), known(arm["mean_intervention"], ".3f")]
    return [arm["label"], f"{arm['share']:.1%}", f"{arm['low']:.1%} to {arm['high']:.1%}", *paired, *means]


def gains_table(evaluations: Sequence[Evaluation]) -> Table:
    """Of evaluations with several samples of each problem."""
    return _gains([each for each in evaluations if each.settings["samples"] > 1], _model_column)


def gym_table(evaluations: Sequence[Evaluation]) -> Table:
    """Of evaluations on tasks of reasoning-gym."""
    return _gains([each for each in evaluations if each.settings["task"]["name"].startswith("rg:")], _task_column)


def _gains(evaluations: Sequence[Evaluation], column: Callable[[dict[str, Any]], str]) -> Table:
    """The difference to plain decoding of each arm, a column for each evaluation."""
    labels = dict.fromkeys(arm["label"] for each in evaluations for arm in each.arms if arm["paired"] is not None)
    head = ["", *(column(each.settings) for each in evaluations)]
    plain = [f"{arm['share']:.1%}" for each in evaluations for arm in each.arms[:1] if arm["share"] is not None]
    rows = [["plain decoding solves", *plain]] if len(plain) == len(evaluations) else []
    for label in labels:
        found = [next((arm["paired"] for arm in each.arms if arm["label"] == label), None) for each in evaluations]
        rows.append([label, *("" if pair is None else _difference(pair) for pair in found)])
    return Table(head, rows, []) if labels else Table([], [], [])


def _model_column(settings: dict[str, Any]) -> str:
    return f"{settings['model']['name']}, {settings['task']['n']} x {settings['samples']}"


def _task_column(settings: dict[str, Any]) -> str:
    return f"{settings['task']['variant']}, {settings['task']['n']}, {settings.get('dtype', 'server')}"


def entropy_table(evaluation: Evaluation) -> Table:
    """The difference to plain decoding in bins of the mean entropy of a problem's texts, lowest first."""
    compared = [arm for arm in evaluation.arms if (arm["paired"] or {}).get("by_entropy")]
    if not compared:
        return Table([], [], [])
    count = max(len(arm["paired"]["by_entropy"]) for arm in compared)
    head = ["against plain, points", "lowest entropy", *map(str, range(2, count)), "highest", "edges"]
    return Table(head, [_bins(arm["label"], arm["paired"]["by_entropy"]) for arm in compared], [])


def _bins(label: str, found: list[dict[str, Any]]) -> list[str]:
    edges = [found[0]["entropy_low"], *(each["entropy_high"] for each in found)]
    return [label, *map(_difference, found), ", ".join(f"{edge:.3f}" for edge in edges)]


def _difference(found: dict[str, Any]) -> str:
    return f"{100 * found['difference']:+.1f} [{100 * found['low']:+.1f}, {100 * found['high']:+.1f}]"


def overhead_table(rows: list[Row]) -> Table:
    """The paper's published overhead beside what was measured."""
    paper = [f"{PAPER_PLAIN:.2f}", f"{PAPER_MOI:.2f}", f"{PAPER_CHANGE:+.2%}"]
    lines = [["published: QwQ-32B, CountDown, vLLM 0.8.5, eager", *paper]]
    for row in rows:
        if row["status"] == "ok":
            figures = [row[side]["tokens_per_s"]["median"] for side in ("plain", "moi")]
            mixed = f", {_percent(row['case']['share'])} MoI requests" if "share" in row["case"] else ""
            name = f"measured: {row['engine']}, {row['case']['name']}{mixed}"
            lines.append([name, *(f"{figure:.2f}" for figure in figures), f"{row['ratio']['median'] - 1:+.2%}"])
    return Table(["output throughput, tokens/s", "plain", "MoI", "change"], lines, [])


def memory_table(top_k: int = 20) -> Table:
    """Bytes per request: the authors' inputs_embeds buffer against a row of the SGLang plugin's tables."""
    tables = Tables.allocate(1, top_k, "cpu")
    lines, ours = [], sum(table.nbytes for table in vars(tables).values())
    for model, hidden, sequences, length in (
        ("QwQ-32B", 5120, 90, 32768),
        ("QwQ-32B", 5120, 256, 8192),
        ("Gemma-3-27B", 5376, 90, 32768),
        ("Qwen2.5-1.5B", 1536, 256, 32768),
    ):
        buffer = sequences * length * hidden * 2
        sizes = [f"{buffer / 2**30:.1f} GiB", f"{buffer / sequences / 2**20:.0f} MiB"]
        lines.append([f"{model}, {sequences} x {length}", *sizes, f"{ours} B", f"{ours * sequences / 2**10:.1f} KiB"])
    head = ["model, max_num_seqs x max_model_len", "mixinputs, all", "mixinputs, per request"]
    return Table([*head, "mixture, per request", "mixture, all"], lines, [])


def _reasons(rows: list[Row], key: str) -> list[str]:
    """What is missing or went wrong, each once."""
    bad = [row for row in rows if row["status"] != "ok"]
    found = dict[str, list[str]]()
    for row in bad:
        found.setdefault(f"{row[key]}: {row['status']}: {row['reason']}", []).append(row["case"]["name"])
    return [f"{text} ({len(cases)} {'case' if len(cases) == 1 else 'cases'})" for text, cases in found.items()]
