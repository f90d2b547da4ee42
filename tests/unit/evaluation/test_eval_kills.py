"""Client, servers and what stands before them are killed at moments drawn anew in each run: the table is that of a
quiet run, and no sample is there twice.
"""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import fake_server
import relay
from moi.cli import main
from moi_eval.journal import load
from programs import Program

pytest.importorskip("openai")
pytestmark = pytest.mark.slow

SMALL = ["--n", "5", "--samples", "4", "--policy", "token", "moi", "gumbel", "--max-new-tokens", "9"]
TOTAL = 60
SECONDS = "0.03"  # of an answer: several are on their way at any moment


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers that failed are asked again at once."""
    monkeypatch.setattr("moi_engines.servers.pool._REST_S", 0.02)
    monkeypatch.setattr("moi_engines.servers.pool._POLL_S", 0.01)


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[list[Program]]:
    """Two servers, each a process, and a proxy before both."""
    with ExitStack() as stack:
        command = [sys.executable, fake_server.__file__]
        two = [Program(lambda port: [*command, f"{port}", SECONDS], tmp_path / f"log{each}") for each in range(2)]
        ports = [f"{stack.enter_context(server).port}" for server in two]
        proxy = Program(lambda port: [sys.executable, relay.__file__, f"{port}", *ports], tmp_path / "proxy")
        yield [*two, stack.enter_context(proxy)]


@pytest.fixture
def whole(serve: Any, tmp_path: Path) -> Path:
    """The file of a quiet run."""
    out = tmp_path / "whole.jsonl"
    assert main(argv(out, serve().url)) == 0
    return out


def argv(out: Path, *urls: str) -> list[str]:
    addresses = [word for url in urls for word in ("--server", url)]
    return ["eval", "countdown", *SMALL, "--concurrency", "4", *addresses, "--out", str(out)]


def lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def check_same(capsys: pytest.CaptureFixture[str], out: Path, whole: Path, url: str) -> None:
    """Every sample once, as in the quiet run, and the same table."""
    found = load(out).samples  # refuses a sample that is there twice
    assert found == load(whole).samples
    assert lines(out) == 1 + TOTAL
    capsys.readouterr()
    tables = []
    for path in (out, whole):
        assert main([*argv(path, url), "--json"]) == 0
        tables.append(json.loads(capsys.readouterr().out))
    assert tables[0] == tables[1]


def killed_while_it_runs(
    run: Callable[[], int], out: Path, moments: list[int], kill: Callable[[], None]
) -> tuple[int, int]:
    """(status of the run, how often something was killed while it ran)."""
    status = list[int]()
    thread = threading.Thread(target=lambda: status.append(run()))
    thread.start()
    kills = 0
    for moment in moments:
        while thread.is_alive() and lines(out) < moment:
            time.sleep(0.002)
        if thread.is_alive():
            kill()
            kills += 1
    thread.join(120)
    return status[0], kills


@pytest.mark.parametrize("before", ["servers", "proxy"])
def test_servers_and_proxies_that_die_and_come_back_change_nothing(
    capsys: pytest.CaptureFixture[str], servers: list[Program], tmp_path: Path, whole: Path, base_seed: int, before: str
) -> None:
    drawn, out = random.Random(f"{base_seed}/{before}"), tmp_path / "r.jsonl"
    *two, proxy = servers
    asked, victims = ([proxy], servers) if before == "proxy" else (two, two)

    def kill() -> None:
        dead = drawn.sample(victims, drawn.randint(1, len(victims)))
        for each in dead:
            each.kill()
        for each in dead:
            each.start()

    moments = sorted(drawn.sample(range(2, TOTAL), 4))
    run = argv(out, *(each.url for each in asked))
    status, kills = killed_while_it_runs(lambda: main(run), out, moments, kill)
    assert (status, kills >= 1) == (0, True)
    check_same(capsys, out, whole, asked[0].url)


def test_a_run_whose_servers_are_gone_ends_and_the_same_command_goes_on(
    capsys: pytest.CaptureFixture[str], servers: list[Program], tmp_path: Path, whole: Path, base_seed: int
) -> None:
    drawn, out, proxy = random.Random(f"{base_seed}/gone"), tmp_path / "r.jsonl", servers[-1]
    run = [*argv(out, proxy.url), "--patience", "0.3"]
    for most in (TOTAL - 24, TOTAL - 8):
        dead, safe = drawn.choice([servers[:2], servers[2:]]), lines(out)
        kill = partial(list, map(Program.kill, dead))
        found = killed_while_it_runs(lambda: main(run), out, [drawn.randint(safe + 1, most)], kill)
        assert found == (2, 1)
        assert "are safe; the same command goes on from there" in capsys.readouterr().err
        assert safe < lines(out) <= TOTAL
        for each in dead:
            each.start()
    assert main(run) == 0
    check_same(capsys, out, whole, proxy.url)


def test_a_client_that_is_killed_again_and_again_goes_on_where_it_was(
    capsys: pytest.CaptureFixture[str], servers: list[Program], tmp_path: Path, whole: Path, base_seed: int
) -> None:
    drawn, out, proxy = random.Random(f"{base_seed}/client"), tmp_path / "r.jsonl", servers[-1]
    ends = [signal.SIGINT, signal.SIGKILL]
    drawn.shuffle(ends)
    for end, most in zip(ends, (TOTAL - 24, TOTAL - 8), strict=True):
        moment = drawn.randint(lines(out) + 1, most)
        process = subprocess.Popen(
            [sys.executable, "-m", "moi", *argv(out, proxy.url)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        while process.poll() is None and lines(out) < moment:
            time.sleep(0.002)
        process.send_signal(end)
        _, told = process.communicate(timeout=60)
        assert process.returncode == (130 if end == signal.SIGINT else -9), told
    assert 2 < lines(out) < TOTAL
    assert main(argv(out, proxy.url)) == 0
    check_same(capsys, out, whole, proxy.url)
