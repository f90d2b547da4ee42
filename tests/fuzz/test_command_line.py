"""Any arguments of any command: accepted, or refused in one line, and no file of the user is touched."""

from __future__ import annotations

import argparse
import importlib
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from moi.cli import COMMANDS
from moi_engines import embedded_model

LINES = 100  # of each command

# Where the work of a command begins. Those without an entry run whole: they end in milliseconds.
WORK: dict[str, tuple[str, ...]] = {
    "bench": ("moi_bench.op.measure_cases", "moi_bench.engines.measure", "moi_bench.serve.measure"),
    "compile": ("moi_compile.command.compile_engine",),
    "demo": ("moi_bench.demo.load_engine",),
    "eval": ("moi_eval.command.load_engine",),
    "export": ("moi_engines.onnx_export.export",),
    "generate": ("moi_engines.commands.generate.load_engine",),
    "playground": ("moi_playground.command.load_engine", "moi_playground.remote.connect"),
    "selftest": ("moi_engines.commands.selftest.examine",),
    "serve": ("moi_engines.commands.serve.subprocess.Popen",),
}
NUMBERS = ("0", "1", "2", "3", "-1", "0.5", "1e400", "nan", "inf", "-inf", "1e-320", str(10**30), "", " ", "x", "1_0")
TEXTS = ("", "a", "\n", "2 3 4 > 24 :", "\ud835", "caf\udce9", "🎲", "{", "--", "-", "n\x00l", "\u2028", "x" * 300)


@pytest.fixture
def paths(tmp_path: Path) -> list[str]:
    """Names of files and folders of all kinds, some of which a user would miss."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").write_text("a user's")
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_bytes(b"caf\xe9\n")
    (tmp_path / "link").symlink_to("folder")
    (tmp_path / "loop").symlink_to("loop")
    found = ["folder", "empty", "notes.txt", "link", "loop", "missing", "missing/deeper", "notes.txt/below", "."]
    return [*found, "", "n\x00l", "\udcff", "x" * 300, "/dev/null", str(embedded_model())]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_takes_its_arguments_or_says_why_not(
    command: str,
    call: Any,
    dice: random.Random,
    paths: list[str],
    reached: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    for target in WORK.get(command, ()):
        monkeypatch.setattr(target, reached)
    users = _contents(tmp_path)
    for _ in range(LINES):
        line = [command, *_arguments(_parser(command), dice, paths)]
        call(line)
        assert users.items() <= _contents(tmp_path).items(), f"moi {line!r} changed a file of the user"


def test_what_is_no_command(call: Any, dice: random.Random) -> None:
    for _ in range(100):
        assert call([dice.choice((*TEXTS, *NUMBERS, "--versions", "generate ")) for _ in range(3)]).status == 2


def _parser(command: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser()
    importlib.import_module(COMMANDS[command][0]).add_arguments(parser)
    return parser


def _arguments(parser: argparse.ArgumentParser, dice: random.Random, paths: list[str]) -> Iterator[str]:
    """Some of the parser's options and all of its positionals, with values that suit them more or less."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            name = dice.choice([*action.choices])
            yield name
            yield from _arguments(action.choices[name], dice, paths)
        elif isinstance(action, argparse._HelpAction):
            continue
        elif action.required or not action.option_strings or dice.random() < 0.2:
            yield from action.option_strings[:1]
            for _ in range(_count(action, dice)):
                yield _value(action, dice, paths)
    if dice.random() < 0.05:
        yield dice.choice((*TEXTS, "--no-such-flag"))


def _count(action: argparse.Action, dice: random.Random) -> int:
    if action.nargs == 0:
        return 0
    return dice.choice((1, 1, 2)) if action.nargs in ("+", "*") else 1


def _value(action: argparse.Action, dice: random.Random, paths: list[str]) -> str:
    kind = dice.random()
    if kind < 0.1:
        return dice.choice((*NUMBERS, *TEXTS, *paths))
    if action.choices is not None:
        return str(dice.choice([*action.choices]))
    if action.type in (int, float):
        return dice.choice(NUMBERS)
    return dice.choice(paths if action.type is Path or kind < 0.4 else TEXTS)


def _contents(folder: Path) -> dict[str, bytes]:
    files = [file for file in folder.rglob("*") if file.is_file() and not file.is_symlink()]
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}
