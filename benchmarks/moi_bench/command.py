"""`moi bench`: what MoI costs, from the op to a server."""

from __future__ import annotations

import argparse

from moi_bench import engines, op, serve

_PARTS = {
    "op": (op, "mix and embed of one decode step, every implementation, against the bandwidth of a copy"),
    "engines": (engines, "every engine, plain decoding and MoI in turn"),
    "serve": (serve, "chats with a server of SGLang or vLLM, at several loads and shares of MoI requests"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Of `moi bench`, whose benchmarks are commands below it."""
    parts = parser.add_subparsers(dest="part", required=True, metavar="PART")
    for name, (module, summary) in _PARTS.items():
        part = parts.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")
        module.add_arguments(part)


def run(args: argparse.Namespace) -> int:
    """The benchmark that was chosen; its exit status."""
    status: int = _PARTS[args.part][0].run(args)
    return status
