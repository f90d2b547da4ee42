"""Reading JSONL files that users bring: every complaint names the file, the line, what is wrong and what is allowed.

Lines are parted by "\\n" alone, since JSON strings may hold every other character that ends a line; a byte order mark
and "\\r" before "\\n" are passed over.
"""

from __future__ import annotations

import codecs
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def records(path: Path) -> list[tuple[int, dict[str, Any]]]:
    """(line number, object with lower-case keys) of each line that is not blank; ValueError for anything else."""
    found = []
    for number, line in enumerate(_text(path).split("\n"), 1):
        if line.strip(" \t\r"):
            found.append((number, _record(path, number, line)))
    if not found:
        raise ValueError(f"{path} holds no problem")
    return found


def assignments(texts: Sequence[str]) -> dict[str, Any]:
    """Values by key of several "key=value", read as JSON, or else as text; ValueError for one without "=", or twice."""
    found: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not key or not equals or key in found:
            raise ValueError(f"{text!r} is not allowed; write each key once, as key=value")
        try:
            found[key] = json.loads(value, parse_constant=_constant)
        except ValueError:
            found[key] = value
    return found


def digest(path: Path) -> str:
    """sha256 of a file's bytes."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def field(path: Path, number: int, record: Mapping[str, Any], names: tuple[str, ...]) -> str:
    """The first of `names` that a record holds, as text; ValueError where it holds none, or one that is no text."""
    for name in names:
        value = record.get(name)
        if value is None or (isinstance(value, str) and not value.strip()):
            continue
        return text(path, number, name, value)
    raise ValueError(
        f"{path} line {number} has no {' or '.join(map(repr, names))}; it has: {_short(', '.join(record))}"
    )


def text(path: Path, number: int, name: str, value: Any) -> str:
    """A value as text; ValueError for one that is no text or number, or that holds half a character."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ValueError(f"{path} line {number} has {name!r}={_short(value)}; it must be text or a number")
    return _unicode(path, number, name, str(value))


def lower_keys(path: Path, number: int, record: Mapping[str, Any]) -> dict[str, Any]:
    """An object with lower-case keys; ValueError where one stands twice with two values."""
    lower: dict[str, Any] = {}
    for key, value in record.items():
        if lower.setdefault(key.lower(), value) != value:
            raise ValueError(f"{path} line {number} has {key!r} twice, in upper and lower case, with two values")
    return lower


def optional(path: Path, number: int, record: Mapping[str, Any], names: tuple[str, ...], default: str) -> str:
    """As `field`, but `default` where a record has none of `names`, or null or nothing under them."""
    given = any(record.get(name) not in (None, "") for name in names)
    return field(path, number, record, names) if given else default


def _text(path: Path) -> str:
    raw = path.read_bytes()
    if raw[:2] == b"\x1f\x8b":
        raise ValueError(f"{path} is compressed; unpack it with gunzip")
    try:
        return raw.removeprefix(codecs.BOM_UTF8).decode()
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ValueError(f"{path} line {line} is not UTF-8 text: {error.reason}") from None


def _record(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        record = json.loads(line, object_pairs_hook=_pairs, parse_constant=_constant)
    except RecursionError:
        raise ValueError(f"{path} line {number} is nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"{path} line {number} is not valid JSON: {error}") from None
    if not isinstance(record, Mapping):
        raise ValueError(f"{path} line {number} is not a JSON object")
    return lower_keys(path, number, record)


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if found.setdefault(key, value) != value:
            raise ValueError(f"the key {_short(key)} stands twice with two values")
    return found


def _constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def _unicode(path: Path, number: int, name: str, text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{path} line {number}: {name!r} holds \\u{ord(text[error.start]):04x}, half a character, at {error.start}"
        ) from None
    return text


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value)
    text = text.encode("ascii", "backslashreplace").decode().replace("\n", "\\n")
    return text if len(text) <= 80 else f"{text[:77]}..."
