"""The `moi` command: finds the sub-command, which lives with the package that does the work.

A sub-command is a module with `add_arguments(parser)` and `run(args) -> exit status`, and a line in
`COMMANDS`. Bad input and missing libraries end in one line and status 2.
"""

from __future__ import annotations

import argparse
import importlib
import io
import sys
from collections.abc import Collection, Sequence
from typing import Any

import moi

COMMANDS: dict[str, tuple[str, str]] = {
    "generate": ("moi_engines.commands.generate", "decode prompts with MoI, or plain and MoI side by side"),
    "serve": ("moi_engines.commands.serve", "an OpenAI-compatible server with MoI: SGLang with this project's plugin"),
    "export": ("moi_engines.commands.export", "a model folder to ONNX, decode step and mixture in one graph"),
    "compile": ("moi_compile.command", "an exported folder to a TensorRT or TensorRT-RTX engine"),
    "doctor": ("moi_engines.commands.doctor", "what this machine can run, and what to install for the rest"),
    "selftest": ("moi_engines.commands.selftest", "check that each backend generates the torch engine's tokens here"),
    "playground": ("moi_playground.command", "a page in the browser: plain decoding and a policy side by side"),
    "demo": ("moi_bench.demo", "the main job on the model that ships with the project"),
    "eval": ("moi_eval.command", "accuracy of plain decoding, MoI and Direct Mixture on the same problems"),
    "report": ("moi_bench.report.command", "results as one HTML page and as Markdown tables"),
    "bench": ("moi_bench.command", "measure the op and the engines, plain decoding and MoI in turn"),
    "completion": ("moi.completion", "a script that completes these commands in a shell"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    argv = list(sys.argv[1:] if argv is None else argv)
    _accept_any_text(sys.stdout, sys.stderr)
    try:
        args, unknown = parser(argv[:1]).parse_known_args(argv)
        if unknown:
            args.parser.error(f"unrecognized arguments: {' '.join(unknown)}")
        status: int = args.run(args)
        return status
    except KeyboardInterrupt:
        print("moi: interrupted", file=sys.stderr)  # noqa: T201
        return 130
    except (ValueError, OSError, RuntimeError, ImportError) as error:
        reason = " ".join(str(error).split())  # names that users give, and libraries, bring line breaks along
        print(f"moi {argv[0]}: error: {reason}", file=sys.stderr)  # noqa: T201
        return 2


def _accept_any_text(*streams: Any) -> None:
    """What a stream's encoding cannot hold is written as an escape, not a traceback."""
    for stream in streams:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def parser(filled: Collection[str]) -> argparse.ArgumentParser:
    """Of all sub-commands; only those `filled` know their arguments, the modules of the others stay unimported."""
    top = argparse.ArgumentParser(prog="moi", description="Mixture of Inputs (arXiv 2505.14827).")
    top.add_argument("--version", action="version", version=f"mixture-of-inputs {moi.__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (module, summary) in COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=summary)
        if name in filled:
            implementation = importlib.import_module(module)
            implementation.add_arguments(command)
            command.set_defaults(run=implementation.run, parser=command)
    return top
