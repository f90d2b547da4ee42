"""--model, --revision and --trust-remote-code, the same for every command that takes a model."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from moi_engines import ENGINES, embedded_model
from moi_engines.model_source import resolve_model

ENGINE_OPTIONS = ("device", "dtype", "revision", "trust_remote_code")
MODEL_HELP = "folder, hub id or GGUF file"


def add_model_arguments(
    parser: argparse.ArgumentParser | argparse._ArgumentGroup, *, required: bool = False, code: bool = True
) -> None:
    """Which model, and from where."""
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
    return resolve_model(args.model, args.revision, log=lambda text: _log(args.command, text))


def served_name(folder: Path, args: argparse.Namespace) -> str:
    """What clients call the model: a folder by its path, all else as it was given and not by the cache it ended in."""
    return str(folder) if args.model is None or Path(args.model).is_dir() else str(args.model)


def engine_folder(args: argparse.Namespace) -> Path:
    """The folder that the engine --engine reads: a Hugging Face model, or what --model names if that is an export.

    Raises ValueError for an option of --device, --dtype, --revision and --trust-remote-code that it does not have,
    or where no export is named, FileNotFoundError where there is none, and what `resolve_model` does.
    """
    spec = ENGINES[args.engine]
    for key in ENGINE_OPTIONS:
        if getattr(args, key) is not None and key not in spec.options:
            takers = ", ".join(name for name, each in ENGINES.items() if key in each.options)
            flag = key.replace("_", "-")
            raise ValueError(f"--{flag} is not an option of the engine {args.engine}; of: {takers}")
    if spec.reads == "model":
        return model_folder(args)
    if args.model is None:
        made = "moi export" if spec.reads == "exported" else "moi export and moi compile"
        raise ValueError(f"--engine {args.engine} needs --model FOLDER, made by {made}")
    folder = Path(args.model)
    if not folder.is_dir():
        raise FileNotFoundError(f"model folder {folder} does not exist")
    return folder


def engine_options(args: argparse.Namespace) -> dict[str, Any]:
    """Options of `load_engine` that were given; the revision went into the folder."""
    given = {key: getattr(args, key) for key in ENGINE_OPTIONS if key != "revision"}
    return {key: value for key, value in given.items() if value is not None}


def add_engine_arguments(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """--engine, --device and --dtype."""
    parser.add_argument("--engine", choices=ENGINES.loadable(), default="torch")
    for key, text in (("device", '"auto", "cpu", "cuda", ...'), ("dtype", '"auto", "float32", "float16", "bfloat16"')):
        takers = ", ".join(name for name, spec in ENGINES.items() if key in spec.options)
        parser.add_argument(f"--{key}", help=f"{text} ({takers})")


def _log(command: str, text: str) -> None:
    sys.stderr.write(f"moi {command}: {text}\n")
    sys.stderr.flush()


def flag_given(flags: list[str], name: str, value: str | None = None) -> bool:
    """Whether the flags of a server set `name`, to `value` if that is asked."""
    split = [part for flag in flags for part in (flag.split("=", 1) if flag.startswith("--") else [flag])]
    found = [split[i + 1 : i + 2] for i, flag in enumerate(split) if flag == name]
    return bool(found) and (value is None or found[-1] == [value])


def refuse_flag(flags: list[str], name: str, instead: str) -> None:
    """ValueError where the flags of a server set `name`, which `moi serve` sets: the server would take the last.

    argparse takes the beginning of a name for all of it; vLLM, underscores and the fields of a dict: --name.field.
    """
    for flag in flags:
        given = flag.partition("=")[0].partition(".")[0].replace("_", "-")
        if len(given) > 2 and given.startswith("--") and name.startswith(given):
            raise ValueError(f"{name} is not allowed behind --, moi serve sets it; {instead}")
