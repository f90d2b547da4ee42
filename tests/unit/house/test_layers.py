"""Imports point one way, as SHELVES says from below to above. Read from the code, registries included."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SHELVES = {"src": 0, "plugins": 2, "export": 2, "engines": 3, "benchmarks": 4}
SHARED = {"moi_serving": 1}  # what plugins of hosts stand on, on the same shelf
HOME = {file.parent.name: shelf for shelf in SHELVES for file in (ROOT / shelf).glob("*/__init__.py")}
FILES = [file for name, shelf in sorted(HOME.items()) for file in sorted((ROOT / shelf / name).rglob("*.py"))]
# moi.cli names the sub-commands, which live with the package that does the work; nothing else points up.
UPWARDS = {"src/moi/cli.py"}
# The report and the demo read evaluations, no evaluation reads a benchmark; the compiler of TensorRT engines compiles
# TensorRT's plugin in, and describes what the exporter exported.
SIDEWAYS = {("moi_bench", "moi_eval"), ("moi_compile", "moi_tensorrt"), ("moi_compile", "moi_onnx")}
# Groups of entry points are named as modules are.
GROUPS = {"moi.engines", "moi.policies", "moi.tasks"}


def floor(package: str) -> int:
    return SHARED.get(package, SHELVES[HOME[package]])


def named(tree: ast.AST) -> Iterator[str]:
    """Modules that a file imports anywhere in it, or names in a string: "moi_x.y:attribute", "moi_x.y"."""
    documentation = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield node.module or ""
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation:
            module, _, attribute = node.value.partition(":")
            if (
                module not in GROUPS
                and module.split(".")[0] in HOME
                and "." in module
                and f"{module}.{attribute or 'x'}".replace(".", "").isidentifier()
            ):
                yield module


def test_imports_and_registries_point_down() -> None:
    wrong = []
    for file in FILES:
        path = file.relative_to(ROOT).as_posix()
        mine = path.split("/")[1]
        for module in named(ast.parse(file.read_text(encoding="utf-8"))):
            other = module.split(".")[0]
            if other not in HOME or other == mine or path in UPWARDS or (mine, other) in SIDEWAYS:
                continue
            if floor(other) >= floor(mine):
                wrong.append(f"{path} names {module}")
    assert not wrong


def test_what_registries_name_exists() -> None:
    for file in FILES:
        for module in named(ast.parse(file.read_text(encoding="utf-8"))):
            if (name := module.split(".")[0]) in HOME:
                place = ROOT / HOME[name] / Path(*module.split("."))
                assert place.with_suffix(".py").is_file() or place.is_dir(), f"{file.relative_to(ROOT)} names {module}"


def test_there_is_no_circle_of_imports_at_load() -> None:
    """Among modules, by the imports that run when a module is loaded; those inside functions wait for their call."""
    graph = {}
    for file in FILES:
        parts = file.relative_to(ROOT).with_suffix("").parts[1:]
        module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        graph[module] = file
    edges = {module: {each for each in _loads(file, graph) if each != module} for module, file in graph.items()}
    done: set[str] = set()

    def walk(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join((*path[path.index(module) :], module))
        if module not in done:
            for other in sorted(edges[module]):
                walk(other, (*path, module))
            done.add(module)

    for module in edges:
        walk(module, ())


def _loads(file: Path, modules: dict[str, Path]) -> Iterator[str]:
    todo: list[ast.AST] = list(ast.parse(file.read_text(encoding="utf-8")).body)
    while todo:
        node = todo.pop()
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                # "from moi import x" in a module of moi takes a submodule, or a name that moi has by then.
                if inner in modules:
                    yield inner
                elif node.module in modules and not f"{_module(file)}.".startswith(f"{node.module}."):
                    yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules)
        elif not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)) and not _for_types(node):
            todo.extend(ast.iter_child_nodes(node))


def _for_types(node: ast.AST) -> bool:
    """Whether a block is for type checkers alone: its imports never run."""
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def _module(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts[1:]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@pytest.mark.parametrize("module", ["moi", "moi.cli", "moi.policies", "moi.testing"])
def test_the_op_imports_torch_alone(module: str) -> None:
    code = (
        f"import sys, torch\nbefore = set(sys.modules)\nimport {module}\n"
        "new = {name.split('.')[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names)\n"
        "print(sorted(new - {'moi'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


HOSTS = {"sglang", "vllm", "tensorrt_llm", "tensorrt", "transformers"}
HOST_PACKAGES = ("moi_sglang", "moi_vllm", "moi_tensorrt_llm")


def test_the_shared_layer_imports_no_host() -> None:
    for file in (ROOT / "plugins" / "moi_serving").rglob("*.py"):
        imported = {module.split(".")[0] for module in named(ast.parse(file.read_text(encoding="utf-8")))}
        assert not imported & HOSTS, file.name


def test_host_packages_share_no_copied_code() -> None:
    """No run of eight lines of code, comments and blank lines left out, stands in two of them."""
    length, runs = 8, dict[tuple[str, ...], str]()
    for package in ("moi_serving", *HOST_PACKAGES):
        for file in (ROOT / "plugins" / package).rglob("*.py"):
            lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
            code = [line for line in lines if line and not line.startswith("#")]
            for start in range(len(code) - length + 1):
                run = tuple(code[start : start + length])
                assert runs.setdefault(run, package) == package, (file.name, run)
