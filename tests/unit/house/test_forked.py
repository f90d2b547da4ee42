"""Programs that are forked from a process that has imported modules are as Python starts them."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fork_server import SPARES
from forked import ForkServer

# Spawns processes, the first of which spawns some, too; each tells what it is and ends with a status of its own.
PROGRAM = """
import json, multiprocessing, os, sys

def spawned(queue, status, *more):
    queue.put([os.getpid(), os.getppid(), "unused" in sys.modules, os.environ["SET"], __name__])
    if more and status == 3:
        queue.put(spawn(*more))
    sys.exit(status)

def spawn(count, *more):
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    processes = [context.Process(target=spawned, args=(queue, 3 + i, *more)) for i in range(count)]
    for process in processes:
        process.start()
    told = [queue.get() for _ in range(count + bool(more))]
    for process in processes:
        process.join()
    inner = [each for each in told if isinstance(each, dict)]
    told = [each for each in told if each not in inner]
    codes = {process.pid: process.exitcode for process in processes}
    return {"pid": os.getpid(), "told": told, "codes": [codes[each[0]] for each in told], "inner": inner}

if __name__ == "__main__":
    os.environ["SET"] = "by the program"
    print(json.dumps({**spawn(*map(int, sys.argv[1:])), "leads": os.getsid(0) == os.getpid(),
        "set": os.environ.get("GIVEN"), "file": __file__, "path": sys.path[:2]}))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("forked")
    (folder / "unused.py").write_text("")
    (folder / "program.py").write_text(PROGRAM)
    (folder / "fails.py").write_text("print('started'); raise SystemExit(7)")
    (folder / "waits.py").write_text("import time\nprint('waits', flush=True)\ntime.sleep(600)")
    return folder


@pytest.fixture(scope="module")
def variables(folder: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def fork_server(variables: dict[str, str]) -> Iterator[ForkServer]:
    with ForkServer(sys.executable, ["unused"], variables) as server:
        yield server


def test_a_program_and_what_it_spawns_are_processes_of_their_own(
    fork_server: ForkServer, variables: dict[str, str], folder: Path, tmp_path: Path
) -> None:
    more = {**variables, "GIVEN": "to it", "PYTHONPATH": os.pathsep.join([str(tmp_path), str(folder)])}
    asked = [spare + 1 for spare in SPARES]  # Python is started for the last
    told = fork_server.printed([str(folder / "program.py"), *map(str, asked)], more)
    assert told["leads"]
    assert (told["set"], told["file"]) == ("to it", str(folder / "program.py"))
    assert told["path"] == [str(folder), str(tmp_path)]
    (inner,) = told["inner"]
    assert inner["pid"] in [pid for pid, *_ in told["told"]]
    for spawned, count in zip((told, inner), asked, strict=True):
        pids, parents, imported, given, names = zip(*spawned["told"], strict=True)
        assert len({spawned["pid"], *pids}) == count + 1
        assert set(parents) == {spawned["pid"]}
        assert sorted(imported) == [False] + [True] * (count - 1)
        assert set(given) == {"by the program"}
        assert set(names) == {"__mp_main__"}
        assert sorted(spawned["codes"]) == [3 + i for i in range(count)]


@pytest.mark.parametrize("forked", [True, False])
def test_how_a_program_ends_is_told(
    fork_server: ForkServer, variables: dict[str, str], folder: Path, tmp_path: Path, forked: bool
) -> None:
    with (tmp_path / "log").open("w+b") as log:
        assert fork_server.start([str(folder / "fails.py")], variables, log, forked=forked).wait(60) == 7
        waits = fork_server.start([str(folder / "waits.py")], variables, log, forked=forked)
        assert waits.poll() is None
        os.killpg(waits.pid, signal.SIGKILL)
        assert waits.wait(60) == waits.poll() == -signal.SIGKILL
        log.seek(0)
        assert log.read().startswith(b"started\n")


def test_a_module_is_run_by_its_name(
    fork_server: ForkServer, variables: dict[str, str], folder: Path, tmp_path: Path
) -> None:
    assert fork_server.printed(["-m", "program", "1"], variables)["told"][0][2] is True


def test_a_script_that_fails_fails_the_test_with_what_it_said(
    fork_server: ForkServer, variables: dict[str, str], folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(AssertionError, match="started"):
        fork_server.printed([str(folder / "fails.py")], variables)
