"""What tests of several folders here share."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from fake_server import FakeServer
from forked import ForkServer
from page_layout import browser_path
from quick_interpreter import patch_once


@pytest.fixture(scope="session", autouse=True)
def _quick_interpreter() -> None:
    if os.environ.get("TRITON_INTERPRET") == "1" and importlib.util.find_spec("triton"):
        patch_once(importlib.import_module("triton.runtime.interpreter"))


@pytest.fixture
def serve() -> Iterator[Callable[..., FakeServer]]:
    """serve(...) -> a FakeServer that runs until the test ends."""
    started = list[FakeServer]()

    def start(*args: Any, **given: Any) -> FakeServer:
        started.append(FakeServer(*args, **given))
        return started[-1]

    yield start
    for server in started:
        server.stop()


@pytest.fixture(scope="session")
def fork_server() -> Iterator[ForkServer]:
    """Starts `moi` with what takes longest of its start done: torch and transformers are imported."""
    modules = ("torch", "transformers.models.llama.modeling_llama", "transformers.models.qwen3.modeling_qwen3")
    with ForkServer(sys.executable, modules, {**os.environ, "OMP_NUM_THREADS": "1"}) as server:
        yield server


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A browser of Playwright's; skips where there is none."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    path = browser_path()
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield started
        started.close()
