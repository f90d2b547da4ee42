"""What `moi eval` does with --server: the options, and what identifies a run on servers."""

from __future__ import annotations

import argparse
from typing import Any

from moi_engines.servers import DIALECTS, Pool, Served
from moi_engines.servers.pool import PATIENCE_S
from moi_eval import server_run
from moi_eval.extras import require
from moi_eval.journal import Journal
from moi_eval.runner import Plan, Tick

# Options of engines, and what they are where nothing was said.
_OF_ENGINES = {"engine": "torch", "threads": 1} | dict.fromkeys(
    ("device", "dtype", "revision", "trust_remote_code", "batch", "preset")
)


def add_arguments(group: argparse._ArgumentGroup) -> None:
    """--server and what goes with it."""
    group.add_argument(
        "--server",
        action="append",
        metavar="URL",
        help="SGLang or vLLM with the plugin; several of one model may be given",
    )
    group.add_argument("--server-kind", choices=list(DIALECTS), help="default: what /v1/models says")
    most = server_run.CONCURRENCY
    group.add_argument("--concurrency", type=int, default=most, metavar="C", help=f"requests at a time ({most})")
    text = f"how long a request waits to be tried again, in all, when servers fail ({PATIENCE_S:g})"
    group.add_argument("--patience", type=float, default=PATIENCE_S, metavar="SECONDS", help=text)


def look(args: argparse.Namespace) -> Served:
    """What the servers serve; ValueError for options that are the server's own, see `Pool.served`."""
    require("eval", "openai")
    for key, default in _OF_ENGINES.items():
        if getattr(args, key) != default:
            raise ValueError(f"--{key.replace('_', '-')} is not allowed with --server: it is the server's own setting")
    if args.concurrency < 1 or not 0 <= args.patience < float("inf"):
        raise ValueError(
            f"--concurrency={args.concurrency}, --patience={args.patience:g} is not allowed; need >= 1 and >= 0"
        )
    return server_run.look(args.server, args.model, args.server_kind)


def settings(served: Served) -> dict[str, Any]:
    """What must stay the same when a file is resumed; addresses and their number may change."""
    return {"model": {"name": served.model}, "engine": f"{served.kind} server"}


def run_missing(args: argparse.Namespace, served: Served, plan: Plan, journal: Journal, tick: Tick, chat: bool) -> None:
    """See `server_run.run_missing`."""
    pool = Pool(args.server, patience_s=args.patience)
    server_run.run_missing(pool, served, plan, journal, tick, chat=chat, concurrency=args.concurrency)
