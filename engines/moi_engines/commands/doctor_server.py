"""`moi doctor --server URL`: whether a server, and whatever stands before it, does as its requests say."""

from __future__ import annotations

import argparse
import asyncio
import sys
from dataclasses import asdict
from importlib.util import find_spec

from moi import json_text
from moi_engines.servers import DIALECTS, Pool, Served
from moi_engines.servers.diagnosis import Finding, diagnose, usable

_PATIENCE_S = 10.0


def add_arguments(only: argparse._MutuallyExclusiveGroup, parser: argparse.ArgumentParser) -> None:
    """--server, among the other things to look at, and --server-kind."""
    only.add_argument("--server", metavar="URL", help="ask a running server: plainly, mixing, and wrongly")
    parser.add_argument("--server-kind", choices=list(DIALECTS), help="of --server; default: what its /v1/models says")


def run(args: argparse.Namespace) -> int:
    """0 if chats or texts are mixed as asked; ImportError without the openai library, OSError without a server."""
    if find_spec("openai") is None:
        raise ImportError("openai is not installed; pip install 'mixture-of-inputs[eval]'")
    served, findings = asyncio.run(_look(args.server, args.server_kind))
    good = {way: usable(findings, way) for way in ("chat", "text")}
    if args.json:
        told = [asdict(finding) for finding in findings]
        report = {"server": args.server, **asdict(served), "mixes": good, "requests": told}
        sys.stdout.write(json_text.dumps(report, indent=2) + "\n")
    else:
        sys.stdout.write(f"{args.server}: {served.kind}, model {served.model}\n{_lines(findings)}\n{_verdict(good)}\n")
    return int(not any(good.values()))


async def _look(url: str, kind: str | None) -> tuple[Served, list[Finding]]:
    async with Pool([url], patience_s=_PATIENCE_S) as pool:
        served = await pool.served(kind=kind)
        return served, await diagnose(pool, served)


def _lines(findings: list[Finding]) -> str:
    marks = {True: "yes", False: "NO"}
    return "\n".join(f"{marks[each.good]:3}  {each.way:4}  {each.request:6}  {each.found}" for each in findings)


def _verdict(good: dict[str, bool]) -> str:
    if all(good.values()):
        return "chats and texts are mixed as asked"
    if good["chat"]:
        return "chats are mixed as asked, texts are not: evaluate with --prompt chat"
    if good["text"]:
        return "texts are mixed as asked, chats are not: evaluate with --prompt plain"
    return "nothing is mixed as asked"
