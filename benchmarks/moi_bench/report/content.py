"""What the page holds, in its order: costs and gains first, then each kind of measurement."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from moi_bench.report import eval_figures, figures, headline, scaling, tables
from moi_bench.report.host_tables import host_table, throughput_table
from moi_bench.report.onnx_table import onnx_table
from moi_bench.report.results import Evaluation, Results, is_real
from moi_bench.report.tables import Table
from moi_bench.rows import Row
from moi_eval.summary import NOTE

_MIXED = "With it, every request is mixed."


@dataclass
class Section:
    """A heading of level 2 or 3; paragraphs, figures (as HTML) and tables below it."""

    title: str
    notes: list[str] = field(default_factory=list)
    figures: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    level: int = 2


def sections(results: Results) -> Iterator[Section]:
    """Everything but the machines; what was not measured is left out."""
    opening = [figure for figure in (headline.cost(results), headline.gain(results)) if figure is not None]
    if opening:
        yield Section("What MoI costs and gains", [], opening)
    yield from _accuracy(results.evals)
    yield from _engines(results.engine)
    yield from _servers(results)
    if results.onnx:
        yield Section("ONNX Runtime against torch, token by token in turn", tables=[onnx_table(results.onnx)])
    if results.op:
        note = "GB/s counts the bytes that must move; of copy: against a plain copy on the same device."
        yield Section("The op: one decode step of mix and embed", [note], tables=[tables.op_table(results.op)])
        yield from _scaling("How its time grows", scaling.op_plots(results.op))
    yield from _computed(results)


def _accuracy(evaluations: list[Evaluation]) -> Iterator[Section]:
    if evaluations:
        yield Section("Accuracy", [NOTE])
    for evaluation in evaluations:
        dots = [
            (arm["label"], 100 * arm["share"], 100 * arm["low"], 100 * arm["high"])
            for arm in evaluation.arms
            if arm["share"] is not None
        ]
        title = tables.title(evaluation)
        drawn = (
            [figures.intervals(dots, "problems solved, %", "Share of problems solved; 95 % interval")] if dots else []
        )
        more = (eval_figures.against_tokens(evaluation), eval_figures.against_entropy(evaluation))
        drawn += [figure for figure in more if figure is not None]
        yield Section(title, [], drawn, [tables.eval_table(evaluation)], level=3)


def _engines(rows: list[Row]) -> Iterator[Section]:
    if not rows:
        return
    notes = ["Change is MoI against plain in output tokens/s, median of turns. " + _baselines(rows)]
    measured = [row for row in rows if row["status"] == "ok"]
    dots = [(f"{row['engine']}, {row['case']['name']}", *headline.change(row)) for row in measured]
    title = "All cases: output tokens/s against plain decoding; median of turns, p10 to p90"
    plots = [figures.intervals(dots, "change of tokens/s, %", title, headline.PAPER)] if dots else []
    found = [tables.engine_table(rows)]
    if any(is_real(row) for row in rows):
        notes.append("Real models come first, beside transformers' own generate in the same turns.")
        found.insert(0, tables.real_table(rows))
    yield Section("Engines: plain decoding and MoI in turn", notes, plots, found)
    yield from _scaling("What MoI adds to a decode step", scaling.engine_plots(rows))


def _servers(results: Results) -> Iterator[Section]:
    if results.serve:
        notes = [each for each in [_baselines(results.serve)] if each]
        yield Section("Serving: chats over HTTP", notes, tables=[tables.serve_table(results.serve)])
        yield from _scaling("What MoI adds to a token, all requests counted", scaling.serve_plots(results.serve))
    if results.sglang:
        yield Section("SGLang without and with the plugin", [_MIXED], tables=[throughput_table(results.sglang)])
    if results.host:
        yield Section("SGLang: the plugin's host time per decode step", tables=[host_table(results.host)])
    if results.vllm:
        note = f"{_MIXED[:-1]}, unless the row says that all are plain." if _idle(results.vllm) else _MIXED
        yield Section("vLLM without and with the plugin", [note], tables=[throughput_table(results.vllm)])
    if results.vllm_host:
        yield Section("vLLM: the plugin's host time per decode step", tables=[host_table(results.vllm_host)])


def _idle(rows: list[Row]) -> bool:
    return any(row.get("idle") for row in rows)


def _computed(results: Results) -> Iterator[Section]:
    note = "The published figure is of another model, machine and host: a comparison of ratios at most."
    yield Section("Beside the paper", [note], tables=[tables.overhead_table(results.engine + results.serve)])
    note = (
        "Computed, not measured. The authors' implementation keeps an inputs_embeds buffer of max_num_seqs x "
        "max_model_len x hidden in bfloat16. Here, in SGLang, a request keeps K + 1 = 21 ids and weights, a position, "
        "an entropy and its settings."
    )
    yield Section("Memory", [note], tables=[tables.memory_table()])


def _scaling(title: str, plots: Iterator[str]) -> Iterator[Section]:
    if drawn := list(plots):
        yield Section(title, [], drawn, level=3)


def _baselines(rows: list[Row]) -> str:
    kinds = {row["engine"]: row["baseline"] for row in rows if row["status"] == "ok" and "baseline" in row}
    return "Plain is: " + "; ".join(f"{engine}: {kind}" for engine, kind in kinds.items()) + "." if kinds else ""
