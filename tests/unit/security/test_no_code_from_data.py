"""No shipped package turns data into code: no pickles, eval, exec, shells or torch.load of what a model or a request
brings. Read from the code; what is left is in EXCEPTIONS, with its reason."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SHELVES = ("src", "plugins", "engines", "export", "benchmarks")
FILES = sorted(file for shelf in SHELVES for file in (ROOT / shelf).rglob("*.py"))

EXCEPTIONS = {
    ("src/moi/kernels/numba_loops.py", "exec"): "source of the policies' own functions, Python of this process",
    ("src/moi/kernels/numba_cache.py", "pickle.loads"): "of what this user's processes compiled, in this user's folder",
    ("plugins/moi_tensorrt_llm/wrapper_checks.py", "pickle.loads"): "of what the line itself has pickled, as a check",
    ("benchmarks/moi_eval/run_code.py", "exec in a text"): "programs of models that an evaluation is told to run",
}
_PICKLES = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "marshal", "shelve", "joblib", "jsonpickle"}
_READERS = {"load", "loads", "Unpickler", "open", "decode"}
_BUILTINS = {"eval", "exec", "compile", "__import__"}
_IN_TEXT = re.compile(r"\b(eval|exec|pickle\.loads?)\(")  # of a program that another interpreter is handed
_SHELLS = {"os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput"}


def dangers(source: str) -> Iterator[str]:
    """Names of the calls in a file that can run what they are given."""
    tree = ast.parse(source)
    names = dict(_imported(tree))
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and _IN_TEXT.search(node.value):
            yield "exec in a text"
        if isinstance(node, ast.Call):
            called = _dotted(node.func, names)
            given = {each.arg: each.value for each in node.keywords}
            if _runs(called, given) or _is(given.get("shell"), True) or _is(given.get("trust_remote_code"), True):
                yield called


def _runs(called: str, given: dict[str | None, ast.expr]) -> bool:
    module, _, name = called.rpartition(".")
    top = module.split(".")[0]
    if called in _BUILTINS or module == "builtins" or called in _SHELLS:
        return True
    if top in _PICKLES and name in _READERS:
        return True
    if called == "torch.load":
        return not _is(given.get("weights_only"), True)
    if called in ("numpy.load", "numpy.fromfile"):
        return _is(given.get("allow_pickle"), True)
    return called in ("yaml.load", "yaml.load_all", "yaml.unsafe_load", "yaml.full_load")


def _is(node: ast.expr | None, value: bool) -> bool:
    return isinstance(node, ast.Constant) and node.value is value


def _imported(tree: ast.AST) -> Iterator[tuple[str, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.asname or alias.name.split(".")[0], alias.name) for alias in node.names if alias.asname)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from ((alias.asname or alias.name, f"{node.module}.{alias.name}") for alias in node.names)


def _dotted(node: ast.expr, names: dict[str, str]) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value, names)}.{node.attr}"
    return names.get(node.id, node.id) if isinstance(node, ast.Name) else "?"


def test_no_file_turns_data_into_code() -> None:
    found = {
        (file.relative_to(ROOT).as_posix(), called)
        for file in FILES
        for called in dangers(file.read_text(encoding="utf-8"))
    }
    assert len(FILES) > 100
    assert found == set(EXCEPTIONS)


@pytest.mark.parametrize(
    "line",
    [
        "import pickle; pickle.loads(x)",
        "from pickle import loads as read; read(x)",
        "import dill as d; d.load(x)",
        "eval(x)",
        "run('-c', 'exec(input())')",
        "exec(compile(x, 'n', 'exec'))",
        "import torch; torch.load(x)",
        "import torch; torch.load(x, weights_only=False)",
        "import numpy as np; np.load(x, allow_pickle=True)",
        "import yaml; yaml.load(x, Loader=y)",
        "import subprocess; subprocess.run(x, shell=True)",
        "import os; os.system(x)",
        "m.from_pretrained(x, trust_remote_code=True)",
    ],
)
def test_the_search_finds_them(line: str) -> None:
    assert list(dangers(line))


@pytest.mark.parametrize(
    "line",
    [
        "import torch; torch.load(x, weights_only=True)",
        "import json; json.loads(x)",
        "model.eval()",
        "torch.compile(x)",
        "import re; re.compile(x)",
        "import yaml; yaml.safe_load(x)",
        "import subprocess; subprocess.run([x])",
        "from safetensors.torch import load_file; load_file(x)",
        "m.from_pretrained(x, trust_remote_code=asked)",
    ],
)
def test_and_nothing_else(line: str) -> None:
    assert not list(dangers(line))
