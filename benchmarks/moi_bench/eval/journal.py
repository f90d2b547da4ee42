"""The results file of an evaluation: a header line, then a line for each finished sample, each on disk before the next.

An append that was cut short leaves a last line without its newline: it is dropped and decoded again. Any other line
that cannot be read means that something else wrote to the file, and is an error.
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

SCHEMA = 1
KIND = "moi-eval"
_SAMPLE_KEYS = {"arm", "item", "sample", "solved", "outcome", "tokens", "finish", "entropy", "intervention", "text"}


class Key(NamedTuple):
    """What identifies a sample in its file."""

    arm: str
    item: str
    sample: int


@dataclass(frozen=True)
class Contents:
    """A results file: its header (None if not even that was finished), samples, and where its whole lines end."""

    header: dict[str, Any] | None
    samples: dict[Key, dict[str, Any]]
    end: int
    torn: bool


def load(path: Path) -> Contents:
    """Everything in a results file; ValueError that names the line for anything this version did not write."""
    raw = path.read_bytes()
    end = raw.rfind(b"\n") + 1
    header, samples = None, dict[Key, dict[str, Any]]()
    for number, line in enumerate(raw[:end].splitlines(), 1):
        record = _parse(path, number, line)
        if number == 1:
            header = _check_header(path, record)
            continue
        if set(record) != _SAMPLE_KEYS:
            raise ValueError(f"{path} line {number} is no sample: it must hold {', '.join(sorted(_SAMPLE_KEYS))}")
        key = Key(record["arm"], record["item"], record["sample"])
        if key in samples:
            raise ValueError(f"{path} line {number} repeats {key.arm!r}, problem {key.item!r}, sample {key.sample}")
        samples[key] = record
    return Contents(header, samples, end, torn=end < len(raw))


def _parse(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except ValueError as error:  # bad JSON or bad UTF-8
        raise ValueError(
            f"{path} line {number} is not valid JSON ({error}); restore the file or start another"
        ) from None
    if not isinstance(record, dict):
        raise ValueError(f"{path} line {number} is not a JSON object")
    return record


def _check_header(path: Path, record: dict[str, Any]) -> dict[str, Any]:
    if record.get("kind") != KIND:
        raise ValueError(f"{path} is not a results file of moi eval: its first line has kind={record.get('kind')!r}")
    if record.get("schema") != SCHEMA:
        raise ValueError(f"{path} has schema={record.get('schema')!r}; this version reads {SCHEMA}")
    for key in ("settings", "environment"):
        if not isinstance(record.get(key), dict):
            raise ValueError(f"{path} has {key}={record.get(key)!r} in its first line; it must be an object")
    return record


class Journal:
    """A results file open for more samples; one process at a time."""

    def __init__(self, file: BinaryIO, samples: dict[Key, dict[str, Any]]) -> None:
        self._file = file
        self.samples = samples

    @classmethod
    def open(cls, path: Path, settings: dict[str, Any], environment: dict[str, Any]) -> Journal:
        """Start a file, or go on with one of the same settings.

        Raises ValueError if the file has other settings or cannot be read, OSError if another process writes it.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("ab")
        try:
            _lock(path, file)
            contents = load(path)
            if contents.torn:
                sys.stderr.write(f"{path}: the last line was cut short; it is dropped and its sample decoded again\n")
                file.truncate(contents.end)
            journal = cls(file, contents.samples)
            if contents.header is None:
                journal._write({"kind": KIND, "schema": SCHEMA, "settings": settings, "environment": environment})
            else:
                _check_settings(path, contents.header["settings"], settings)
        except BaseException:
            file.close()
            raise
        return journal

    def append(self, key: Key, record: dict[str, Any]) -> None:
        """Write a finished sample; it is on disk when this returns."""
        line = {**key._asdict(), **record}
        assert set(line) == _SAMPLE_KEYS
        self._write(line)
        self.samples[key] = line

    def close(self) -> None:
        self._file.close()

    def _write(self, record: dict[str, Any]) -> None:
        self._file.write(json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())


def _lock(path: Path, file: BinaryIO) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise OSError(f"{path} is being written by another process") from None


def _check_settings(path: Path, found: dict[str, Any], wanted: dict[str, Any]) -> None:
    for key in {**found, **wanted}:
        if found.get(key) != wanted.get(key):
            raise ValueError(
                f"{path} was started with {key}={_short(found.get(key))}, now it is {_short(wanted.get(key))}; "
                "give the same settings to go on, or another --out"
            )


def _short(value: Any) -> str:
    """A setting in a message; arms by their labels."""
    if isinstance(value, list):
        return f"[{'; '.join(str(entry.get('label', entry)) for entry in value)}]"
    return repr(value)
