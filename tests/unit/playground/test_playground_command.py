"""`moi playground` with what it cannot serve: one line and status 2, before a page is made."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import pytest

from fake_server import FakeServer
from moi.cli import main
from moi_playground import command

if find_spec("gradio") is None:
    pytest.skip("needs gradio: pip install 'mixture-of-inputs[playground]'", allow_module_level=True)
pytest.importorskip("openai")


@pytest.fixture
def server() -> Iterator[FakeServer]:
    running = FakeServer()
    yield running
    running.stop()


def error_of(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    assert main(["playground", "--port", "0", *argv]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--port", "70000"], "--port=70000 is not allowed; it must be an integer in [0, 65535]"),
        (["--port", "-1"], "--port=-1 is not allowed"),
        (["--host", "nowhere.invalid"], "--host 'nowhere.invalid' --port 0 cannot be served"),
        (["--model", "./nowhere"], "model folder ./nowhere does not exist"),
        (["--server", "ftp://x"], "server='ftp://x' is not allowed"),
        (["--server", "http://127.0.0.1:1"], "http://127.0.0.1:1 does not answer"),
        (["--server", "http://127.0.0.1:1", "--engine", "onnxruntime"], "--engine is not allowed with --server"),
        (["--server", "http://127.0.0.1:1", "--preset", "paper"], "--preset is not allowed with --server"),
        (["--server-kind", "vllm"], "--server-kind vllm needs --server URL"),
        (["--engine", "onnxruntime", "--dtype", "float16"], "--dtype is not an option of the engine onnxruntime"),
    ],
)
def test_a_bad_flag_is_one_line(capsys: pytest.CaptureFixture[str], argv: list[str], said: str) -> None:
    assert said in error_of(capsys, *argv)


def test_a_model_that_the_server_does_not_have(capsys: pytest.CaptureFixture[str], server: FakeServer) -> None:
    assert "does not serve 'other'; it has fake" in error_of(capsys, "--server", server.url, "--model", "other")


def test_a_port_that_is_taken(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = error_of(capsys, "--port", str(port))
    assert f"--host '127.0.0.1' --port {port} cannot be served" in said
    assert said.endswith("--port 0 takes a free port")


def test_a_missing_library_names_the_extra(capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    monkeypatch.setattr(command, "find_spec", lambda name: None)
    assert error_of(capsys).endswith("gradio is not installed; pip install 'mixture-of-inputs[playground]'")
