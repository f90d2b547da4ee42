"""The house: what is on disk is what is shipped, and importing it does nothing."""

import inspect
import re
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

import moi

ROOT = Path(__file__).parents[3]
SHELVES = ("src", "plugins", "engines", "export", "benchmarks")

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli", reason="Python 3.10 has no tomllib")

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_every_package_on_the_shelves_is_in_the_wheel():
    on_disk = [p.parent.relative_to(ROOT).as_posix() for s in SHELVES for p in (ROOT / s).glob("*/__init__.py")]
    assert sorted(on_disk) == sorted(PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"])


def test_what_the_tests_read_is_in_the_source_distribution():
    included = set(PYPROJECT["tool"]["hatch"]["build"]["targets"]["sdist"]["include"])
    assert {*SHELVES, "tests", "docs", "examples"} <= included


EXTRAS = PYPROJECT["project"]["optional-dependencies"]
_NAMED = re.compile(r"mixture-of-inputs\[([\w, -]+)\]")


def test_the_extras_are_named_as_users_expect():
    hosts = {"sglang", "vllm", "tensorrt", "tensorrt-rtx", "tensorrt-llm", "onnx", "onnx-gpu"}
    assert hosts | {"flashinfer", "cpu", "engine", "eval", "all"} <= set(EXTRAS)


def test_every_extra_that_is_named_anywhere_exists():
    files = [file for shelf in SHELVES for file in (ROOT / shelf).rglob("*.py")]
    files += [ROOT / "pyproject.toml", *ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("examples/*")]
    named = {
        (file.name, extra.strip())
        for file in files
        if file.is_file()
        for found in _NAMED.findall(file.read_text(encoding="utf-8"))
        for extra in found.split(",")
    }
    assert len(named) > 10
    assert {(name, extra) for name, extra in named if extra not in EXTRAS} == set()


def test_all_has_no_host_with_a_torch_of_its_own():
    """SGLang, vLLM and TensorRT-LLM pin versions that exclude each other: each has an environment to itself."""
    todo, inside = ["all"], set()
    while todo:
        extra = todo.pop()
        inside.add(extra)
        todo += [name.strip() for need in EXTRAS[extra] for found in _NAMED.findall(need) for name in found.split(",")]
    assert {"engine", "cpu", "onnx", "eval"} <= inside
    assert not inside & {"sglang", "vllm", "tensorrt-llm", "onnx-gpu"}


def test_torch_is_the_only_hard_dependency():
    assert [name.split(">")[0] for name in PYPROJECT["project"]["dependencies"]] == ["torch"]


def test_the_public_names_exist_and_nothing_else_is_public():
    assert all(hasattr(moi, name) for name in moi.__all__)
    public = {name for name, value in vars(moi).items() if not name.startswith("_") and not inspect.ismodule(value)}
    assert public <= set(moi.__all__)


def test_importing_the_op_imports_no_host_and_no_kernel_language():
    hosts = ("numba", "triton", "transformers", "sglang", "onnx", "onnxruntime", "tensorrt", "rich", "flashinfer")
    code = f"import sys, moi, moi.cli; print([h for h in {hosts!r} if h in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_the_command_is_installed():
    names = {point.name: point.value for point in entry_points(group="console_scripts")}
    assert names.get("moi") == "moi.cli:main"
