"""Policies that other packages bring through the entry points `moi.policies`: one file, no file of this project."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from forked import ForkServer
from installed_package import install_package
from moi.policies.registry import BUILT_IN

pytestmark = pytest.mark.slow

CHILD = Path(__file__).with_name("policy_child.py")


@pytest.fixture(scope="module")
def python(fork_server: ForkServer) -> Callable[..., subprocess.CompletedProcess[str]]:
    """python(argument, ..., path=folder) runs a process that finds the packages in this folder installed."""

    def run(*argv: str, path: Path) -> subprocess.CompletedProcess[str]:
        return fork_server.run(argv, {**os.environ, "PYTHONPATH": str(path), "TRITON_INTERPRET": "1"})

    return run


@pytest.fixture(scope="module")
def child(
    python: Any, outside_package: Path, tiny_model: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Any:
    if missing := [name for name in ("triton", "numba", "onnxruntime") if find_spec(name) is None]:
        pytest.skip(f"needs {', '.join(missing)}")
    scratch = tmp_path_factory.mktemp("scratch")
    done = python(str(CHILD), str(tiny_model("qwen3")), str(scratch), path=outside_package)
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_an_installed_policy_follows_those_of_the_project(child: Any) -> None:
    assert child["names"] == [*BUILT_IN, "outside"]


def test_it_runs_in_every_implementation_and_engine_and_in_the_slots_of_sglang(child: Any) -> None:
    assert child["op"] == ["reference", "numba", "triton"]
    assert child["engines"] == {"torch": None, "onnxruntime": None}
    assert child["slots"] == ["Slots", "CPUSlots", "GPUSlots"]


def test_its_parameters_are_options_of_the_command_line(child: Any) -> None:
    shared = {"top_k": 20, "entropy": "support", "prior": "raw"}
    assert child["command"] == {"policy": "outside", "share": 0.75, "tail": 1.0, **shared}


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"policy": "outside", "share": 2}, "share=2 is not allowed; share must be a number in [0, 1]"),
        ({"policy": "outside", "beta": 1}, "policy 'outside' has no parameter 'beta', which is one of: moi;"),
        ({"policy": "moi", "tail": 1}, "policy 'moi' has no parameter 'tail', which is one of: outside;"),
        (
            {"policy": "outsider"},
            f"policy='outsider' is unknown; allowed: {', '.join(BUILT_IN)}, outside",
        ),
        ({"policy": "outside", "x": 1}, "moi key 'x' is unknown; allowed: policy, share, tail, top_k"),
    ],
)
def test_messages_come_from_the_declarations(python: Any, outside_package: Path, settings: Any, reason: str) -> None:
    done = python("-c", f"import moi\nmoi.MoIConfig(**{settings!r})", path=outside_package)
    assert f"ValueError: {reason}" in done.stderr


def test_nothing_is_imported_before_a_policy_is_asked_for_that_is_not_built_in(
    python: Any, outside_package: Path
) -> None:
    code = (
        "import sys, moi\n"
        "moi.MoIConfig(beta=1), moi.MoIConfig('direct')\n"
        "assert 'outside_policy' not in sys.modules\n"
        "moi.MoIConfig('outside', share=1)\n"
        "assert 'outside_policy' in sys.modules"
    )
    done = python("-c", code, path=outside_package)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("name", "target", "source", "reason"),
    [
        ("bad", "bad_policy:POLICY", "1 / 0", "bad_policy:POLICY of bad cannot be loaded: ZeroDivisionError"),
        ("bad", "bad_policy:NOTHING", "", "bad_policy:NOTHING of bad cannot be loaded: AttributeError"),
        ("bad", "bad_policy:POLICY", "POLICY = 3", "of bad must be a moi.Policy named 'bad', got 3"),
        ("moi", "bad_policy:POLICY", "from moi.policies.moi import POLICY", "there is a policy 'moi' already"),
    ],
)
def test_a_broken_entry_point_is_one_line_that_names_it(
    python: Any, tmp_path: Path, name: str, target: str, source: str, reason: str
) -> None:
    done = python("-m", "moi", "generate", "--prompt", "a", path=install_package(tmp_path, name, target, source))
    (line,) = done.stderr.splitlines()
    assert done.returncode == 2
    assert line.startswith(f"moi generate: error: policy entry point {name} = {target}")
    assert reason in line
