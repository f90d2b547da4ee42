"""Compiled loops that are kept between processes: read where they are the same, never where anything else is meant."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from installed_package import install_package

pytest.importorskip("numba", reason="needs Numba: the extra cpu")

FUNCTIONS = """
import numpy as np
from moi.kernels.numba_cache import compiled, kept

FACTOR, TABLE = {factor}, np.array([1.0, {entry}])

@compiled
def inner(x):
    return x * FACTOR + TABLE[1]

def made(shift):
    @kept
    def outer(x):
        return inner(x) + shift
    return outer
"""

POLICY = """
from moi import Policy

SHARE = {share}

def weights(prior):
    return SHARE, (1 - SHARE) * prior

POLICY = Policy("fixed", weights, ())
"""

# The weight of the token in the policy "fixed", by Numba.
MIX = """
import torch
from moi import MoIConfig
from moi.kernels import IMPLEMENTATIONS
from moi.rows import RowParams, encode, policy_layout

codes, values = encode([MoIConfig("fixed")], policy_layout())
rows = RowParams(torch.tensor(codes, dtype=torch.int32), torch.tensor(values), torch.ones(1))
mixture = IMPLEMENTATIONS["numba"].mix(torch.randn(1, 32), torch.tensor([3]), rows, 8, "support", "raw")
print(mixture.weights[0, 0].item())
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where compiled code is kept in this test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "mixture-of-inputs" / "numba"


@pytest.fixture
def run(folder: Path) -> Iterator[Callable[..., tuple[float, int]]]:
    """run(factor=2.0, ...) -> what outer(1.0) gives, and how many functions were compiled for it. They are made anew,
    as in another process."""
    from numba.core import event

    class Compiled(event.Listener):  # type: ignore[misc]
        count = 0

        def on_start(self, event: Any) -> None:
            self.count += 1

        def on_end(self, event: Any) -> None:
            pass

    def call(factor: float = 2.0, entry: float = 0.0, shift: float = 0.0) -> tuple[float, int]:
        scope: dict[str, Any] = {}
        exec(FUNCTIONS.format(factor=factor, entry=entry), scope)
        before = listener.count
        return scope["made"](shift)(1.0), listener.count - before

    listener = Compiled()
    event.register("numba:compile", listener)
    yield call
    event.unregister("numba:compile", listener)


def test_what_was_compiled_is_read(run: Any, folder: Path) -> None:
    assert run() == (2.0, 2)
    kept = list(folder.iterdir())
    assert len(kept) == 1
    assert run() == (2.0, 0)
    assert list(folder.iterdir()) == kept


@pytest.mark.parametrize(
    "changed", [{"factor": 3.0}, {"entry": 1.0}, {"shift": 1.0}], ids=lambda each: next(iter(each))
)
def test_all_that_code_refers_to_is_part_of_the_key(run: Any, changed: dict[str, float]) -> None:
    """A constant of a function that is called, an entry of a table, a variable of the function around it."""
    assert run() == (2.0, 2)
    assert run(**changed) == (3.0, 2)
    assert run() == (2.0, 0)


def test_a_broken_file_is_compiled_anew_and_mended(run: Any, folder: Path) -> None:
    run()
    (kept,) = folder.iterdir()
    whole = kept.read_bytes()
    for broken in (b"", whole[:-1], whole[:100] + bytes([whole[100] ^ 1]) + whole[101:]):
        kept.write_bytes(broken)
        assert run() == (2.0, 2)
        assert run() == (2.0, 0)


def test_a_folder_that_cannot_be_written_costs_time_only(run: Any, folder: Path) -> None:
    folder.parent.write_text("no folder")
    assert run() == run() == (2.0, 2)


def test_what_cannot_be_told_apart_is_not_kept() -> None:
    """A function that is defined later, one that is no compiled one, an object, a function that calls itself."""
    from moi.kernels.numba_cache import Kept, kept

    scope: dict[str, Any] = {"helper": type("helper", (), {"value": 1}), "other": lambda x: x}
    exec("import math\ndef known(x): return math.exp(x)\ndef late(x): return missing(x)", scope)
    exec("def plain(x): return other(x)\ndef object(x): return x + helper.value", scope)
    exec("def itself(x): return itself(x - 1) if x else x", scope)
    assert isinstance(kept(scope["known"])._cache, Kept)
    for name in ("late", "plain", "object", "itself"):
        assert not isinstance(kept(scope[name])._cache, Kept), name


@pytest.fixture
def mixed(folder: Path, tmp_path: Path) -> Callable[[str, str], float]:
    """mixed("fixed_policy", "0.25") -> what the policy of that module and share gives in a process of its own. The
    share is a constant of its file, whose date is always the same."""

    def call(module: str, share: str) -> float:
        packages = Path(tempfile.mkdtemp(dir=tmp_path))
        install_package(packages, "fixed", f"{module}:POLICY", POLICY.format(share=share))
        os.utime(packages / f"{module}.py", (1e9, 1e9))
        command, environment = [sys.executable, "-c", MIX], {**os.environ, "PYTHONPATH": str(packages)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr[-2000:]
        return float(done.stdout)

    return call


@pytest.mark.slow
def test_a_changed_policy_is_compiled_anew(mixed: Callable[[str, str], float], folder: Path) -> None:
    assert [mixed("fixed_policy", share) for share in ("0.25", "0.75", "0.25")] == [0.25, 0.75, 0.25]
    assert len(list(folder.iterdir())) == 2


@pytest.mark.slow
def test_a_policy_whose_module_was_renamed_is_compiled_anew(mixed: Callable[[str, str], float], folder: Path) -> None:
    """Numba imports the module of what was kept, and it is gone."""
    assert [mixed(module, "0.25") for module in ("fixed_policy", "renamed_policy")] == [0.25, 0.25]
    assert len(list(folder.iterdir())) == 2
