"""`moi doctor`: versions, devices, and for each backend whether it is usable or what to install."""

from __future__ import annotations

import argparse
import platform
import sys
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

import moi
from moi import json_text
from moi.kernels import IMPLEMENTATIONS
from moi_engines import ENGINES
from moi_engines.commands import doctor_server
from moi_engines.onnx_providers import provider_reasons

_LIBRARIES = ("torch", "numba", "triton", "flashinfer-python", "onnx")  # beside those of the engines


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Of `moi doctor`."""
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--backend", choices=list(ENGINES), help="this one alone; the exit status tells")
    only.add_argument("--onnx", metavar="DIR", help="list the nodes of an exported model that TensorRT would refuse")
    doctor_server.add_arguments(only, parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")


def run(args: argparse.Namespace) -> int:
    """0 if the torch engine is usable, or the backend, exported model or server that was asked about."""
    if args.server is not None:
        return doctor_server.run(args)
    if args.onnx is not None:
        return _examine_onnx(args.onnx, args.json)
    if args.backend is not None:
        reason = ENGINES[args.backend].unavailable()
        report: dict[str, Any] = {"backend": args.backend, **_verdict(reason)}
        _print(report, f"{args.backend}: {reason or 'usable'}", args.json)
        return int(reason is not None)
    report = diagnose()
    if args.json:
        _print(report, "", as_json=True)
    else:
        show(report)
    return 0 if report["engines"]["torch"]["usable"] else 1


def _examine_onnx(folder: str, as_json: bool) -> int:
    from moi_onnx.subset import check

    refusals = check(folder)
    text = "\n".join(map(str, refusals)) or "no node that TensorRT's parser is known to refuse"
    _print({"onnx": folder, "refusals": [asdict(refusal) for refusal in refusals]}, text, as_json)
    return int(bool(refusals))


def _print(report: dict[str, Any], text: str, as_json: bool) -> None:
    sys.stdout.write((json_text.dumps(report, indent=2) if as_json else text) + "\n")


def diagnose() -> dict[str, Any]:
    """versions, devices, and {name: {usable, reason}} of implementations, engines and ONNX Runtime's providers."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    reasons = {name: IMPLEMENTATIONS[name].unavailable(device) for name in IMPLEMENTATIONS}
    return {
        "versions": {"mixture-of-inputs": moi.__version__, "python": platform.python_version(), **_versions()},
        "devices": _devices(),
        "implementations": {name: _verdict(reason) for name, reason in reasons.items()},
        "engines": {name: _verdict(spec.unavailable()) for name, spec in ENGINES.items()},
        "providers": {name: _verdict(reason) for name, reason in provider_reasons().items()},
    }


def show(report: dict[str, Any]) -> None:
    """Print the findings as a table."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    console.print(", ".join(f"{name} {number}" for name, number in report["versions"].items()))
    console.print("devices: " + ", ".join(report["devices"]))
    for kind, title in (
        ("implementations", "implementations"),
        ("engines", "engines"),
        ("providers", "ONNX Runtime providers"),
    ):
        table = Table("", title, "what is missing", box=None, pad_edge=False)
        for name, entry in report[kind].items():
            mark = "[green]yes[/]" if entry["usable"] else "[red]no[/]"
            table.add_row(mark, name, Text(entry["reason"] or ""))  # as text: extras stand in brackets
        console.print()
        console.print(table)


def _verdict(reason: str | None) -> dict[str, Any]:
    return {"usable": reason is None, "reason": reason}


def _versions() -> dict[str, str]:
    libraries = (*_LIBRARIES, *(spec.library for spec in ENGINES.values() if spec.library is not None))
    installed = {name: _version(name) for name in libraries}
    return {name: number for name, number in installed.items() if number is not None}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _devices() -> list[str]:
    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return [f"cpu ({platform.machine()})", *(f"cuda:{i} ({name})" for i, name in enumerate(names))]
