"""What of a host does not go with MoI: a table of its settings, and which rows of it conflict."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

GONE: Any = object()  # in the place of a value: the host has no such field


class Conflict(NamedTuple):
    """A setting that may conflict.

    flag      as a user writes it: what conflicts, or what is safe
    field     dotted, of the resolved settings: a host may resolve a flag into another field, or several into one
    present   whether a value of the field conflicts
    reason    why it does
    """

    flag: str
    field: str
    present: Callable[[Any], bool]
    reason: str


def conflicts(table: Iterable[Conflict], settings: Any) -> Iterator[tuple[Conflict, Any]]:
    """Rows that conflict, with the value; with GONE those whose field is not there, which cannot be told to be off.

    settings   an object or a mapping, and so what it holds
    """
    for row in table:
        value = read(settings, row.field)
        if value is GONE or row.present(value):
            yield row, value


def read(settings: Any, field: str) -> Any:
    """A dotted field; GONE where it is not there, None where what would hold it is None."""
    for name in field.split("."):
        if settings is None or settings is GONE:
            return settings
        settings = settings.get(name, GONE) if isinstance(settings, Mapping) else getattr(settings, name, GONE)
    return settings


def given(value: Any) -> bool:
    """Anything but None."""
    return value is not None


def above_one(value: Any) -> bool:
    """A count of more than one; None is one."""
    return (value or 1) > 1
