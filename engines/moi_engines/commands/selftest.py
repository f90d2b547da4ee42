"""`moi selftest`: on this machine, does each backend decode as the torch engine does?"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from moi import json_text
from moi.files import check_file, write_file
from moi_engines import ENGINES
from moi_engines.commands.doctor import diagnose
from moi_engines.commands.model_arguments import add_model_arguments, model_folder
from moi_engines.model_source import model_name
from moi_engines.selfcheck import Verdict, check_backend, check_isolated

FORMAT = 2
_WIDTH = 160  # of a reason; the report holds all of it


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Of `moi selftest`."""
    parser.add_argument(
        "--backend",
        action="append",
        choices=list(ENGINES),
        help="may be given several times (default: all usable ones)",
    )
    add_model_arguments(parser, code=False)
    parser.add_argument("--report", type=Path, metavar="FILE", help="write the JSON report there, for a bug report")
    parser.add_argument("--json", action="store_true", help="print the JSON report and nothing else")


def run(args: argparse.Namespace) -> int:
    """0 if every backend asked for ran and decodes as the torch engine does, up to rounding."""
    if args.report is not None:
        check_file(args.report, _is_report, "a report of moi selftest", "--report")
    report = examine(args.backend, model_folder(args))
    text = json_text.dumps(report, indent=2)
    if args.report is not None:
        write_file(args.report, text + "\n", _is_report, "a report of moi selftest", "--report")
    sys.stdout.write(text + "\n" if args.json else summary(report))
    return 0 if report["passed"] else 1


def _is_report(path: Path) -> bool:
    return {"format", "passed", "backends", "versions"} <= set(json.loads(path.read_bytes()))


def examine(backends: list[str] | None, model: Path) -> dict[str, Any]:
    """The report; `backends` None asks for all that are usable and lists the others."""
    verdicts: dict[str, Verdict] = {}
    with tempfile.TemporaryDirectory(prefix="moi-selftest-") as scratch:
        for name in backends or ENGINES:
            check = check_isolated if ENGINES[name].selftest.isolated else check_backend
            verdicts[name] = check(name, model, Path(scratch))
    wanted = [v for v in verdicts.values() if backends or v.verdict != "unavailable"]
    doctor = diagnose()
    return {
        "format": FORMAT,
        "passed": bool(wanted) and all(v.verdict == "agrees" for v in wanted),
        "backends": {name: verdict.to_dict() for name, verdict in verdicts.items()},
        "model": model_name(model),
        "versions": doctor["versions"],
        "devices": doctor["devices"],
    }


def summary(report: dict[str, Any]) -> str:
    """One line a backend and the verdict."""
    lines = [_line(name, entry) for name, entry in report["backends"].items()]
    missing = [name for name, entry in report["backends"].items() if entry["verdict"] == "unavailable"]
    hint = " (see --json for a report to send)" if not report["passed"] else ""
    counted = f"{len(lines) - len(missing)} of {len(lines)} backends ran"
    return "\n".join([*lines, f"{'passed' if report['passed'] else 'FAILED'}: {counted}{hint}", ""])


def _line(name: str, entry: dict[str, Any]) -> str:
    figures = f"{entry['judged']} of {entry['tokens']} tokens judged, largest margin {entry['margin']:.1g}"
    figures = f"{figures}, {entry['seconds']:.1f} s" if entry["tokens"] else ""
    reason = entry["reason"] or ""
    if len(reason) > _WIDTH:
        reason = f"{reason[:_WIDTH]}..."
    return "  ".join(part for part in (f"{name:<13}{entry['verdict']:<12}", figures, reason) if part)
