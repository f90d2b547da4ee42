"""`moi_sglang.host` alone names SGLang's modules and attributes, and hooks survive an SGLang that passes more."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path
from typing import Any

import pytest

from moi_serving.contract import Symbol
from moi_serving.settings import ServerSettings
from moi_sglang import hooks
from moi_sglang.host import SGLANG

PLUGIN = Path(hooks.__file__).parent
TABLES = {
    "load": hooks.LOAD,
    "frontend": hooks.FRONTEND,
    "scheduler": hooks.scheduler_hooks(ServerSettings()),
}
HOOKS = [hook for table in TABLES.values() for hook in table]
DECLARED = {symbol.name: symbol for symbol in SGLANG.symbols if not symbol.called and not symbol.fields}
# Attributes of torch or of our own that happen to have the name of a declared field.
OURS = {"device", "model", "labels", "vocab_size", "register", "checkpoint"}


def test_every_target_has_its_hook() -> None:
    assert sorted(hook.target for hook in HOOKS) == sorted(DECLARED)


@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: hook.target.rsplit(".", 1)[-1])
def test_a_hook_takes_what_is_declared_and_more(hook: hooks.Hook) -> None:
    symbol: Symbol = DECLARED[hook.target]
    first = [] if hook.kind == "before" else ["result or original"]
    owner = hook.target.split(".")[-2]
    receiver = ["self"] if owner[0].isupper() and not hook.target.endswith("add_cli_args") else []
    signature = inspect.signature(hook.function)
    named: dict[str, Any] = dict.fromkeys(symbol.keywords)
    signature.bind(*first, *receiver, *symbol.positional, **named)
    signature.bind(*first, *receiver, *symbol.positional, "one more", **named, another=1)
    signature.bind(*first, *receiver, **dict.fromkeys(symbol.positional), **named, another=1)


def test_no_other_file_names_sglangs_modules_or_attributes() -> None:
    fields = {name for symbol in SGLANG.symbols for name in symbol.fields}
    methods = {symbol.name.rsplit(".", 1)[1] for symbol in SGLANG.symbols if symbol.called}
    found = []
    for file in sorted(PLUGIN.glob("*.py")):
        nodes = list(ast.walk(ast.parse(file.read_text(encoding="utf-8"))))
        imports = [node for node in nodes if isinstance(node, ast.ImportFrom)]
        views = {
            alias.asname or alias.name for node in imports if node.module == "moi_sglang.host" for alias in node.names
        }
        found += [(file.name, node.module) for node in imports if (node.module or "").startswith("sglang")]
        for node in nodes:
            if isinstance(node, ast.Attribute) and node.attr in (fields | methods) - OURS:
                if ast.unparse(node.value) not in views:
                    found.append((file.name, f"{ast.unparse(node)} in line {node.lineno}"))
            elif isinstance(node, ast.Import):
                found += [(file.name, alias.name) for alias in node.names if alias.name.startswith("sglang")]
    assert found == []


def test_only_the_asked_targets_are_checked() -> None:
    assert hooks.problems([]) == []
