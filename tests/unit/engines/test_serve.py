"""`moi serve`: what it hands to an engine's server, and what it refuses."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from moi.cli import main
from moi_bench.server import free_port
from moi_engines import ENGINES
from moi_engines.commands import serve
from moi_engines.commands.serve import client_call

HOSTS = "vllm", "sglang"


@pytest.fixture
def folder(tiny_model: Callable[[str], Path]) -> str:
    return str(tiny_model("llama"))


@pytest.fixture
def no_server(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Command lines of servers that were to be started; none is."""
    asked = list[list[str]]()

    def started(command: list[str]) -> None:
        asked.append(command)
        raise OSError("not started")

    monkeypatch.setattr(subprocess, "Popen", started)
    return asked


def refusal(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """The one line that this command of `moi serve` ends in."""
    assert main(["serve", *argv]) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("moi ")]
    return line


@pytest.mark.parametrize("flags", [["--chat-template", "--x=--y"], ["--max-num-seqs", "8", "--served_model_name=a"]])
def test_flags_of_the_server_go_to_it(
    capsys: pytest.CaptureFixture[str], folder: str, no_server: list[list[str]], flags: list[str]
) -> None:
    given = ["--engine", "vllm", "--model", folder, "--param", "beta=2", "--until", "7"]
    assert "not started" in refusal(capsys, *given, "--", *flags)
    (command,) = no_server
    assert command[-len(flags) :] == flags
    settings = json.loads(command[command.index("--additional-config") + 1])
    assert settings == {"moi": {"beta": 2.0, "until": 7}}


@pytest.mark.parametrize(
    "flags",
    [
        ["--additional-config", '{"other": 1}'],
        ['--additional-config={"moi": false}'],
        ["--additional_config", "{}"],
        ["--additional-config.moi.beta", "2"],
        ["--additional_config.moi.beta=2"],
        ["--enforce-eager", "--additional-conf", "{}"],
    ],
)
def test_settings_that_would_replace_those_of_moi_serve_are_refused(
    capsys: pytest.CaptureFixture[str], folder: str, no_server: list[list[str]], flags: list[str]
) -> None:
    told = refusal(capsys, "--engine", "vllm", "--model", folder, "--", *flags)
    assert told.startswith("moi serve: error: --additional-config is not allowed behind --, moi serve sets it; ")
    assert not no_server


@pytest.mark.parametrize("engine", HOSTS)
def test_a_parameter_is_given_once(
    capsys: pytest.CaptureFixture[str], folder: str, no_server: list[list[str]], engine: str
) -> None:
    told = refusal(capsys, "--engine", engine, "--model", folder, "--param", "beta=2", "--beta", "0.5")
    assert told == "moi serve: error: parameter 'beta' is given twice"
    assert not no_server


@pytest.mark.parametrize("engine", HOSTS)
@pytest.mark.parametrize(
    ("name", "flags"),
    [
        ("port", ["--max-num-seqs", "8", "--port", "8001"]),
        *[("port", ["--port=8001"]), ("port", ["--por", "8001"])],
        *[("host", ["--host", "0.0.0.0"]), ("host", ["--host=0.0.0.0"])],
    ],
)
def test_the_address_is_moi_serves_own(
    capsys: pytest.CaptureFixture[str],
    folder: str,
    no_server: list[list[str]],
    engine: str,
    name: str,
    flags: list[str],
) -> None:
    told = refusal(capsys, "--engine", engine, "--model", folder, "--", *flags)
    expected = f"--{name} is not allowed behind --, moi serve sets it; give --{name} before the --"
    assert told == f"moi serve: error: {expected}"
    assert not no_server


@pytest.mark.parametrize("port", [0, -1, 65536, 10**30])
def test_a_port_is_one(capsys: pytest.CaptureFixture[str], folder: str, no_server: list[list[str]], port: int) -> None:
    told = refusal(capsys, "--model", folder, "--port", str(port))
    assert told == f"moi serve: error: --port {port} is not allowed; it must be in 1..65535"


def test_a_port_where_somebody_listens_is_refused(
    capsys: pytest.CaptureFixture[str], folder: str, no_server: list[list[str]]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        told = refusal(capsys, "--model", folder, "--host", "0.0.0.0", "--port", str(port))
    assert told == f"moi serve: error: --port {port} is taken: another program listens there"
    assert not no_server


# A program that stands for an engine's server: it is given the port, and ends after one connection more.
ANSWERS = """
import socket, sys
with socket.create_server(("127.0.0.1", int(sys.argv[1]))) as listener:
    for answer in {answers!r}:
        connection, _ = listener.accept()
        with connection:
            connection.recv(1 << 16)
            connection.sendall(answer)
    listener.accept()
sys.exit(3)
"""
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
UNREADY = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n"
NO_HTTP = b"220 mail.example ESMTP\r\n"


def served(monkeypatch: pytest.MonkeyPatch, folder: str, code: str) -> int:
    """The status of `moi serve` over this program."""
    port = free_port()

    def called(*args: Any) -> str:
        socket.create_connection(("127.0.0.1", port)).close()
        return client_call(*args)

    spec = replace(ENGINES["sglang"], server=lambda _, args: [sys.executable, "-c", code, str(args.port)])
    monkeypatch.setitem(ENGINES.loaded, "sglang", spec)
    monkeypatch.setattr(serve, "client_call", called)
    monkeypatch.setattr(serve, "_POLL_S", 0.01)
    return main(["serve", "--engine", "sglang", "--model", folder, "--port", str(port)])


@pytest.mark.parametrize("before", [[], [UNREADY], [NO_HTTP], [b""], [b"HTTP/1.1 OK 200\r\n\r\n"]])
def test_a_call_to_paste_is_printed_once_the_server_is_ready(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, folder: str, before: list[bytes]
) -> None:
    assert served(monkeypatch, folder, ANSWERS.format(answers=[*before, OK])) == 3
    assert capsys.readouterr().out.startswith("\nReady. Try:\n\ncurl -s http://127.0.0.1:")


def test_what_answers_for_a_server_that_ended_is_another_program(monkeypatch: pytest.MonkeyPatch) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as server:

        def answered(*address: Any) -> bool:
            server.communicate(b"\n")
            return True

        monkeypatch.setattr(serve, "_healthy", answered)
        assert not serve._wait_until_ready(server, "127.0.0.1", 1)
