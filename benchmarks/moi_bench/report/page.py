"""The page: sections of tables and plots, style included, nothing loaded from anywhere."""

from __future__ import annotations

import html
from collections.abc import Iterator
from pathlib import Path

from moi_bench.report import growth, svg, tables
from moi_bench.report.onnx_table import onnx_table
from moi_bench.report.results import Evaluation, Results, is_real
from moi_bench.report.sglang_tables import host_table, throughput_table
from moi_bench.report.style import STYLE
from moi_bench.report.tables import Table
from moi_bench.rows import Row
from moi_eval.summary import NOTE

# By which moi report knows its own pages.
MARK = '<meta name="generator" content="moi report">'


def is_page(path: Path) -> bool:
    """Whether a file is a page that moi report wrote."""
    return MARK.encode() in path.read_bytes()[:1000]


def page(results: Results) -> str:
    """The whole document."""
    body = "\n".join(_sections(results))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"{MARK}\n"
        f"<title>Mixture of Inputs: measurements</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        f"<h1>Mixture of Inputs: measurements</h1>\n{body}\n</main>\n</body>\n</html>\n"
    )


def _sections(results: Results) -> Iterator[str]:
    yield _machines(results.machines)
    if results.evals:
        yield "<h2>Accuracy</h2>"
        yield from (_evaluation(evaluation) for evaluation in results.evals)
    if results.engine:
        yield "<h2>Engines: plain decoding and MoI in turn</h2>"
        yield (
            "<p>Change is MoI against plain in output tokens/s, median of turns. " + _baselines(results.engine) + "</p>"
        )
        if any(is_real(row) for row in results.engine):
            yield "<p>Real models, beside transformers' own generate in the same turns:</p>"
            yield _table(tables.real_table(results.engine))
        yield _engine_plot(results.engine) + _table(tables.engine_table(results.engine))
        yield _growth("What MoI adds to a decode step", growth.engine_plots(results.engine))
    if results.serve:
        yield "<h2>Serving: SGLang's bench_serving</h2>" + _table(tables.serve_table(results.serve))
        yield _growth("What MoI adds to a token, all requests counted", growth.serve_plots(results.serve))
    if results.sglang:
        yield "<h2>SGLang without and with the plugin</h2><p>With it, every request is mixed.</p>"
        yield _table(throughput_table(results.sglang))
    if results.host:
        yield "<h2>SGLang: the plugin's host time per decode step</h2>" + _table(host_table(results.host))
    if results.onnx:
        yield "<h2>ONNX Runtime against torch, token by token in turn</h2>" + _table(onnx_table(results.onnx))
    if results.op:
        yield "<h2>The op: one decode step of mix and embed</h2>"
        yield "<p>GB/s counts the bytes that must move; of copy: against a plain copy on the same device.</p>"
        yield _table(tables.op_table(results.op))
        yield _growth("How its time grows", growth.op_plots(results.op))
    yield "<h2>Beside the paper</h2>"
    yield "<p>The published figure is of another model, machine and host: a comparison of ratios at most.</p>"
    yield _table(tables.overhead_table(results.engine + results.serve))
    yield "<h2>Memory</h2>"
    yield (
        "<p>Computed, not measured. The authors' implementation keeps an inputs_embeds buffer of max_num_seqs x "
        "max_model_len x hidden in bfloat16. Here, in SGLang, a request keeps K + 1 = 21 ids and weights, a position, "
        "an entropy and its settings.</p>"
    )
    yield _table(tables.memory_table())


def _machines(rows: list[Row]) -> str:
    return f"<h2>Machine, versions, commands to repeat</h2>\n<ul>{''.join(map(_machine, rows))}</ul>"


def _machine(row: Row) -> str:
    driver = f", NVIDIA driver {row['driver']}" if row.get("driver") else ""
    versions = ", ".join(f"{name} {number}" for name, number in row["versions"].items() if number)
    note = f"<br>{_e(row['note'])}" if row.get("note") else ""
    commit, *dirty = (row.get("commit") or "unknown").split("-")
    return (
        f"<li><strong>{_e(row['device'])}</strong>{_e(driver)}<br>{_e(versions)}<br>"
        f"commit {_e('-'.join([commit[:12], *dirty]))}{note}<pre>{_e(row['command'])}</pre></li>"
    )


def _evaluation(evaluation: Evaluation) -> str:
    dots = [
        (arm["label"], 100 * arm["share"], 100 * arm["low"], 100 * arm["high"])
        for arm in evaluation.arms
        if arm["share"] is not None
    ]
    plot = svg.intervals(dots, "%", None) if dots else ""
    return f"<h3>{_e(tables.title(evaluation))}</h3><p>{_e(NOTE)}</p>{plot}{_table(tables.eval_table(evaluation))}"


def _engine_plot(rows: list[Row]) -> str:
    dots = [
        (
            f"{row['engine']}, {row['case']['name']}",
            *(100 * (row["ratio"][key] - 1) for key in ("median", "p10", "p90")),
        )
        for row in rows
        if row["status"] == "ok"
    ]
    paper = ("paper, QwQ-32B on vLLM", round(100 * tables.PAPER_CHANGE, 2))
    return svg.intervals(dots, "%", paper) if dots else ""


def _growth(title: str, plots: Iterator[str]) -> str:
    drawn = "".join(plots)
    return f"<h3>{title}</h3>{drawn}" if drawn else ""


def _baselines(rows: list[Row]) -> str:
    kinds = {row["engine"]: row["baseline"] for row in rows if row["status"] == "ok" and "baseline" in row}
    return _e("Plain is: " + "; ".join(f"{engine}: {kind}" for engine, kind in kinds.items()) + ".") if kinds else ""


def _table(table: Table) -> str:
    head = "".join(f"<th>{_e(cell)}</th>" for cell in table.head)
    rows = "".join("<tr>" + "".join(f"<td>{_e(cell)}</td>" for cell in row) + "</tr>" for row in table.rows)
    reasons = "".join(f"<li>{_e(reason)}</li>" for reason in table.reasons)
    missing = f'<ul class="missing">{reasons}</ul>' if reasons else ""
    grid = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>" if rows else ""
    return f'<div class="wide" tabindex="0">{grid}</div>{missing}'


def _e(text: str) -> str:
    return html.escape(text, quote=True)
