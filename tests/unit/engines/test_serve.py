"""`moi serve`: what it hands to an engine's server, and what it refuses."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from moi.cli import main

ENGINES = "vllm", "sglang"


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


@pytest.mark.parametrize("engine", ENGINES)
def test_a_parameter_is_given_once(
    capsys: pytest.CaptureFixture[str], folder: str, no_server: list[list[str]], engine: str
) -> None:
    told = refusal(capsys, "--engine", engine, "--model", folder, "--param", "beta=2", "--beta", "0.5")
    assert told == "moi serve: error: parameter 'beta' is given twice"
    assert not no_server
