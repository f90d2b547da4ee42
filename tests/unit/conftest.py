"""What tests of several folders here share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from fake_server import FakeServer


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
