"""What installed packages bring to a registry: entry points of one group, checked and named in errors."""

from __future__ import annotations

from collections.abc import Callable, Container
from importlib.metadata import EntryPoint, entry_points
from typing import Any


def installed(group: str, kind: str, built_in: Container[str]) -> dict[str, EntryPoint]:
    """Entry points of a group by name, in order; RuntimeError for a name that is taken.

    kind  what they bring, for messages: "policy"
    """
    found = dict[str, EntryPoint]()
    for point in sorted(entry_points(group=group), key=lambda point: (point.name, point.value)):
        if point.name in built_in or point.name in found:
            article = "an" if kind[0] in "aeiou" else "a"
            raise RuntimeError(f"{_described(point, kind)}: there is {article} {kind} {point.name!r} already")
        found[point.name] = point
    return found


def load(point: EntryPoint, kind: str, wanted: str, fits: Callable[[Any], bool]) -> Any:
    """What the entry point names; RuntimeError that names it where it cannot be loaded, or does not fit.

    wanted  what fits, for the message; its name must be the entry point's: "a moi.Policy"
    """
    try:
        found = point.load()
    except Exception as error:  # whatever the code of another package raises
        raise RuntimeError(f"{_described(point, kind)} cannot be loaded: {type(error).__name__}: {error}") from error
    if not fits(found) or getattr(found, "name", None) != point.name:
        raise RuntimeError(f"{_described(point, kind)} must be {wanted} named {point.name!r}, got {found!r}")
    return found


def _described(point: EntryPoint, kind: str) -> str:
    package = f" of {point.dist.name}" if point.dist is not None else ""
    return f"{kind} entry point {point.name} = {point.value}{package}"
