"""`moi completion`: for bash, zsh and tcsh, by shtab."""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path

from moi import cli

SHELLS = ("bash", "zsh", "tcsh")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Of `moi completion`."""
    parser.add_argument("shell", choices=SHELLS, help="bash: source <(moi completion bash)")


def run(args: argparse.Namespace) -> int:
    """Print the script. Commands whose packages are not installed are completed without their options."""
    import shtab

    sys.stdout.write(shtab.complete(_parser(shtab.FILE), args.shell) + "\n")
    return 0


def _parser(files: object) -> argparse.ArgumentParser:
    found = cli.parser([name for name, (module, _) in cli.COMMANDS.items() if _imports(module)])
    (commands,) = (action for action in found._actions if isinstance(action, argparse._SubParsersAction))
    for command in commands.choices.values():
        for action in command._actions:
            if action.type is Path:
                action.complete = files
    return found


def _imports(module: str) -> bool:
    try:
        importlib.import_module(module)
    except ImportError:
        return False
    return True
