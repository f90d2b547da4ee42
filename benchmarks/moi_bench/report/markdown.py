"""Tables of a Markdown file, kept between markers: `<!-- moi report: NAME -->` ... `<!-- moi report: end -->`."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from moi_bench.report import tables
from moi_bench.report.host_tables import host_table, throughput_table
from moi_bench.report.results import Evaluation, Results
from moi_bench.report.summary_table import summary_table
from moi_bench.report.tables import Table

_END = "<!-- moi report: end -->"
# Markers stand at the beginning of a line: text may speak of them.
_BLOCK = re.compile(r"^<!-- moi report: ([a-z]+) -->\r?\n(?:(?!<!-- moi report:).)*^" + _END, re.DOTALL | re.MULTILINE)
_MARK = re.compile(r"^<!-- moi report: (?!end)", re.MULTILINE)


# What makes the rows of a block.
_COMMANDS = {
    "real": "moi bench engines --model MODEL --repeats 20 --out real.json",
    "summary": "moi bench engines --out engines.json",
    "op": "moi bench op --out op.json",
    "engines": "moi bench engines --out engines.json",
    "serve": "moi bench serve --out serve.json",
    "eval": "moi eval countdown --out countdown.jsonl",
    "gains": "moi eval countdown --samples 4 --out countdown.jsonl",
    "gym": "moi eval rg:chain_sum --model MODEL --out chain_sum.jsonl",
    "entropy": "moi eval countdown --out countdown.jsonl",
    "sglang": "python -m moi_bench.sglang_decode --out sglang.json",
    "host": "python -m moi_bench.sglang_decode --out sglang.json",
    "vllm": "python -m moi_bench.vllm_decode --out vllm.json",
    "vllmhost": "python -m moi_bench.vllm_decode --out vllm.json",
}


def markdown(results: Results) -> dict[str, str]:
    """The blocks a file may ask for, by name."""
    blocks = {
        "real": _block(tables.real_table(results.engine)),
        "summary": _block(summary_table(results.engine)),
        "op": _block(tables.op_table(results.op)),
        "engines": _block(tables.engine_table(results.engine)),
        "serve": _block(tables.serve_table(results.serve)),
        "eval": _evaluations(results, tables.eval_table),
        "gains": _block(tables.gains_table(results.evals)),
        "gym": _block(tables.gym_table(results.evals)),
        "entropy": _evaluations(results, tables.entropy_table),
        "sglang": _block(throughput_table(results.sglang)),
        "host": _block(host_table(results.host)),
        "vllm": _block(throughput_table(results.vllm)),
        "vllmhost": _block(host_table(results.vllm_host)),
        "overhead": _block(tables.overhead_table(results.engine + results.serve)),
        "memory": _block(tables.memory_table()),
    }
    return {name: text or f"Not measured yet; the command: `{_COMMANDS[name]}`." for name, text in blocks.items()}


def filled(path: Path, results: Results) -> str:
    """A file's text with the current tables between its markers, and nothing else of it changed, line ends neither.

    ValueError for unknown, open or no markers, and for a file that is no text.
    """
    text, blocks = _read(path), markdown(results)
    names = _BLOCK.findall(text)
    if not names or len(names) != len(_MARK.findall(text)):
        raise ValueError(
            f"{path} has no or unclosed markers; write <!-- moi report: NAME --> and {_END} around a table"
        )
    for name in names:
        if name not in blocks:
            raise ValueError(f"{path} asks for {name!r}; allowed: {', '.join(blocks)}")
    line = "\r\n" if "\r\n" in text else "\n"

    def block(match: re.Match[str]) -> str:
        return "\n".join([f"<!-- moi report: {match[1]} -->", blocks[match[1]], _END]).replace("\n", line)

    return _BLOCK.sub(block, text)


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text: {error}") from None


def _evaluations(results: Results, table: Callable[[Evaluation], Table]) -> str:
    """The table of each evaluation that has one, below what was evaluated."""
    blocks = [(tables.title(each), _block(table(each))) for each in results.evals]
    return "\n\n".join(f"{title}\n\n{block}" for title, block in blocks if block)


def _block(table: Table) -> str:
    rule = "|".join(["---", *["---:"] * (len(table.head) - 1)])
    lines = [_line(table.head), f"|{rule}|", *map(_line, table.rows)] if table.rows else []
    reasons = [f"- {reason}" for reason in table.reasons]
    return "\n".join([*lines, *([""] if lines and reasons else []), *reasons])


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
