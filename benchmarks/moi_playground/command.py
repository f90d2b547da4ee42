"""`moi playground`: a page in the browser, plain decoding and a policy side by side."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path

from moi import PRESETS
from moi_engines import load_engine
from moi_engines.commands.model_arguments import (
    ENGINE_OPTIONS,
    add_engine_arguments,
    add_model_arguments,
    engine_folder,
    engine_options,
)
from moi_engines.model_source import model_name
from moi_engines.servers import DIALECTS
from moi_playground.records import Source

_COUNTDOWN = "18 7 7 > 67 :"  # what the embedded model knows
_COUNTDOWN_TOKENS, _TOKENS = 170, 256


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Of `moi playground`."""
    add_model_arguments(parser)
    add_engine_arguments(parser)
    parser.add_argument("--preset", choices=list(PRESETS), help="K, entropy and prior of mixtures (default: official)")
    group = parser.add_argument_group("a server instead of an engine; --model is then the name it serves")
    group.add_argument("--server", metavar="URL", help="SGLang or vLLM with the plugin")
    group.add_argument("--server-kind", choices=list(DIALECTS), help="default: what /v1/models says")
    group = parser.add_argument_group("the page")
    group.add_argument("--host", default="127.0.0.1", help="default: 127.0.0.1, this machine alone")
    group.add_argument("--port", type=int, default=7860, metavar="P", help="0 takes a free one (default: 7860)")


def run(args: argparse.Namespace) -> int:
    """Serves the page until it is interrupted; 0."""
    missing = [name for name in ("gradio", *(("openai",) if args.server else ())) if find_spec(name) is None]
    if missing:
        raise ImportError(f"{', '.join(missing)} is not installed; pip install 'mixture-of-inputs[playground]'")
    if not 0 <= args.port < 1 << 16:
        raise ValueError(f"--port={args.port} is not allowed; it must be an integer in [0, 65535]")
    from moi_playground import web

    with closing(web.bind(args.host, args.port)) as bound, closing(_source(args)) as source:
        # Read by libraries when they are imported: no numbers go to anybody, and files end with this process.
        os.environ.update(GRADIO_ANALYTICS_ENABLED="False", HF_HUB_DISABLE_TELEMETRY="1")
        with tempfile.TemporaryDirectory(prefix="moi-playground-", ignore_cleanup_errors=True) as folder:
            os.environ["GRADIO_TEMP_DIR"] = str(Path(folder, "gradio"))
            from moi_playground import page
            from moi_playground.runs import Runs

            embedded = args.model is None and args.server is None
            defaults = page.Defaults(
                _COUNTDOWN if embedded else "The sky is blue because", _COUNTDOWN_TOKENS if embedded else _TOKENS
            )
            built = page.build(Runs(source, args.preset or "official", Path(folder)), defaults)
            web.serve(built, bound, args.host, _ready, theme=page.theme(), head=page.head())
    return 0


def _source(args: argparse.Namespace) -> Source:
    if args.server is None:
        return _local(args)
    given = {key: getattr(args, key) for key in (*ENGINE_OPTIONS, "preset")} | {
        "engine": None if args.engine == "torch" else args.engine
    }
    for key, value in given.items():
        if value is not None:
            raise ValueError(f"--{key.replace('_', '-')} is not allowed with --server: it is the server's own setting")
    from moi_playground.remote import connect

    return connect(args.server, args.model, args.server_kind)


def _local(args: argparse.Namespace) -> Source:
    import torch

    from moi_playground.local import LocalSource

    if args.server_kind is not None:
        raise ValueError(f"--server-kind {args.server_kind} needs --server URL")
    if args.model is None:
        torch.set_num_threads(1)  # the embedded model is so small that a second thread only waits
    folder = engine_folder(args)
    engine = load_engine(args.engine, folder, **engine_options(args))
    return LocalSource(engine, "the embedded Countdown solver" if args.model is None else model_name(folder))


def _ready(url: str) -> None:
    sys.stdout.write(f"moi playground: {url} (Ctrl-C ends it)\n")
    sys.stdout.flush()
