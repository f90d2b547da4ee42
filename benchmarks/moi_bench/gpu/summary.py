"""The table of a day: summary.json and summary.md, written anew whenever a step ends."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from moi import json_text
from moi.files import check_file, write_file

Record = dict[str, Any]
_WHAT = "the summary of moi_bench.gpu"
_TITLE = "# The day of a GPU"


def load(out: Path) -> dict[str, Any] | None:
    """What an earlier run left in `out`, None if nothing; OSError where something else stands in the way."""
    for name, ours in (("summary.json", _is_summary), ("summary.md", _is_table)):
        check_file(out / name, ours, _WHAT)
    file = out / "summary.json"
    found: dict[str, Any] | None = json.loads(file.read_bytes()) if file.exists() and file.stat().st_size else None
    return found


def write(out: Path, about: dict[str, Any], records: Sequence[Record]) -> None:
    """Both files; whole or not at all."""
    text = json_text.dumps({**about, "steps": list(records)}, indent=1)
    write_file(out / "summary.json", text + "\n", _is_summary, _WHAT)
    write_file(out / "summary.md", _markdown(about, records), _is_table, _WHAT)


def table(records: Sequence[Record]) -> str:
    """For people: a line for each step."""
    cells = [["step", "status", "s", "file", "figures"], *(_cells(record) for record in records)]
    widths = [max(len(line[column]) for line in cells) for column in range(4)]
    return "\n".join("  ".join([*map(str.ljust, line, widths), line[4]]).rstrip() for line in cells)


def _cells(record: Record) -> list[str]:
    seconds = "" if record["seconds"] is None else f"{record['seconds']:.0f}"
    told = ": ".join(part for part in (record["reason"], record["figures"]) if part)
    return [record["name"], record["status"], seconds, record["file"] or "", told]


def _markdown(about: dict[str, Any], records: Sequence[Record]) -> str:
    where = about["gpu"] or about["device"]
    kind = "Rehearsed on a CPU: the figures say nothing." if about["rehearsed"] else "On a GPU."
    lines = [_TITLE, "", f"{kind} {where}; commit {about['commit']}; `{about['command']}`", ""]
    lines += ["| step | status | s | file | figures |", "|---|---|---:|---|---|"]
    lines += [f"| {' | '.join(cell.replace('|', '/') for cell in _cells(record))} |" for record in records]
    lines += ["", "Commands:", ""]
    lines += [f"- {record['name']}: {record['what']}: `{record['command']}`" for record in records]
    return "\n".join(lines) + "\n"


def _is_summary(path: Path) -> bool:
    return bool(json.loads(path.read_bytes())["kind"] == "gpu")


def _is_table(path: Path) -> bool:
    return path.read_text(encoding="utf-8").startswith(_TITLE)
