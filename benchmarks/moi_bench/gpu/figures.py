"""What the results of a step say, in a line; the kind of a file is known by its contents."""

from __future__ import annotations

import json
import statistics
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from moi_bench.rows import Row, kind_of


def read(path: Path) -> str:
    """The main figures of a results file. OSError, ValueError or LookupError for what is none."""
    if path.suffix == ".xml":
        return _tests(path)
    if path.suffix == ".jsonl":
        return _samples(path)
    found = json.loads(path.read_bytes())
    if isinstance(found, dict):
        return _driver(found)
    if not found:
        raise ValueError(f"{path} holds no row")
    return _KINDS[kind_of(found[0])](found)


def skipped(path: Path) -> str | None:
    """Why all tests of a file were skipped; None where one ran, or of another file."""
    if path.suffix != ".xml":
        return None
    cases = [*ElementTree.parse(path).iter("testcase")]
    reasons = [case.find("skipped") for case in cases]
    if not cases:
        return "no test was selected"
    given = [str(reason.get("message")) for reason in reasons if reason is not None]
    return given[0] if len(given) == len(cases) else None


def _tests(path: Path) -> str:
    cases = [*ElementTree.parse(path).iter("testcase")]
    kinds = Counter(next((part.tag for part in case if part.tag in _TAGS), "passed") for case in cases)
    return ", ".join(f"{kinds[tag]} {word}" for tag, word in _WORDS.items() if kinds[tag])


_TAGS = ("failure", "error", "skipped")
_WORDS = {"passed": "passed", "failure": "failed", "error": "broken", "skipped": "skipped"}


def _samples(path: Path) -> str:
    """Of `moi eval`; its last line may be cut short."""
    arms: dict[str, list[bool]] = defaultdict(list)
    for line in path.read_text(encoding="utf-8", errors="replace").split("\n")[1:]:  # texts hold other ends of lines
        try:
            sample = json.loads(line)
        except ValueError:
            continue
        arms[sample["arm"]].append(sample["solved"])
    if not arms:
        raise ValueError(f"{path} holds no sample")
    return "; ".join(f"{arm}: {sum(solved)} of {len(solved)} solved" for arm, solved in arms.items())


def _parity(rows: list[Row]) -> str:
    counts = Counter(row["status"] for row in rows)
    return f"{counts['ok']} right, {counts['wrong']} wrong"


def _op(rows: list[Row]) -> str:
    """Median over the cases of an implementation's speed-up and distance to the floor."""
    timed = [row for row in rows if row["median_us"] is not None]
    parts = []
    for name in dict.fromkeys(row["implementation"] for row in rows):
        mine = [row for row in timed if row["implementation"] == name]
        if not mine:
            parts.append(f"{name}: {next(row['reason'] for row in rows if row['implementation'] == name)}"[:90])
            continue
        eager = [1 / row["ratio_to_eager"] for row in mine if row["ratio_to_eager"]]
        floor = statistics.median(row["ratio_to_floor"] for row in mine)
        faster = f"{statistics.median(eager):.2f} x eager's speed, " if eager and name != "eager" else ""
        parts.append(f"{name}: {faster}{floor:.2f} x the floor ({len(mine)} cases)")
    return "; ".join(parts)


def _decode(rows: list[Row]) -> str:
    """MoI against plain, and the spread over the turns; else the host time of each piece."""
    throughput = [row for row in rows if "ratio" in row]
    if throughput:
        return "; ".join(
            f"{row['shape']} B={row['batch']}: {row['ratio']:.3f} ({row['ratio_p10']:.3f} to {row['ratio_p90']:.3f})"
            for row in throughput
        )
    return "; ".join(f"{row['piece']} B={row['batch']}: {row['median_us']:.0f} us" for row in rows)


def _driver(report: dict[str, Any]) -> str:
    """Of `moi_bench.tensorrt_gpu`: the best tactic against the reference, over shapes and types."""
    ratios = [
        each["reference_us"] / min(value for key, value in each.items() if key[:8] == "moi_mix_" and key[-3:] == "_us")
        for each in report["timings"]
    ]
    faster = f", {statistics.median(ratios):.2f} x the reference's speed" if ratios else ""
    return f"{report['compared']} comparisons right{faster}"


_KINDS: dict[str, Callable[[list[Row]], str]] = {"parity": _parity, "op": _op, "sglang": _decode, "vllm": _decode}
