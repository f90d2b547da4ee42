"""--model, --revision and --trust-remote-code, the same for every command that takes a model."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from moi_engines import embedded_model
from moi_engines.model_source import resolve_model

# Engines that read a Hugging Face model; the others decode a folder that `moi export` (and `moi compile`) made.
READS_MODELS = ("torch", "sglang")
MODEL_HELP = "folder, hub id or GGUF file"


def add_model_arguments(
    parser: argparse.ArgumentParser | argparse._ArgumentGroup, *, required: bool = False, code: bool = True
) -> None:
    default = "" if required else " (default: the embedded Countdown solver)"
    parser.add_argument("--model", required=required, help=f"{MODEL_HELP}{default}")
    parser.add_argument("--revision", metavar="REV", help="branch, tag or commit of a hub id")
    if code:
        parser.add_argument(
            "--trust-remote-code", action="store_true", default=None, help="run the Python that a model brings along"
        )


def model_folder(args: argparse.Namespace) -> Path:
    """The folder of --model at --revision, or the embedded model's."""
    if args.model is None:
        if args.revision is not None:
            raise ValueError(f"--revision {args.revision} needs --model with a hub id")
        return embedded_model()
    return resolve_model(args.model, args.revision, say=lambda text: _say(args.command, text))


def _say(command: str, text: str) -> None:
    sys.stderr.write(f"moi {command}: {text}\n")
    sys.stderr.flush()
