"""Bad input of commands that are no part of `moi`: one line, no traceback."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")


def checked(program: str, check: Callable[[], Found]) -> Found | None:
    """What `check` returns; None where it raised OSError or ValueError, which is told in a line: exit with 2."""
    try:
        return check()
    except (OSError, ValueError) as error:
        sys.stderr.write(f"{program}: {error}\n")
        return None
