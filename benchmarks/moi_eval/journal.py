"""The results file of an evaluation: a header line, then a line for each finished sample, each on disk before the next.

An append that was cut short leaves a last line without its newline: it is dropped and decoded again. Any other line
that cannot be read means that something else wrote to the file, and is an error.
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from moi import json_text
from moi.files import check_file, is_device
from moi_eval.journal_models import Sample, Settings
from moi_eval.models import Environment, validate

SCHEMA = 1
KIND = "moi-eval"
_BEGINNING = f'{{"kind":"{KIND}",'.encode()
_SAMPLE_KEYS = set(Sample.model_fields)
_NEEDED_KEYS = {name for name, field in Sample.model_fields.items() if field.is_required()}


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
    """Everything in a results file; ValueError that names the line for anything this version did not write.

    A sample belongs to the settings of the header: one of its arms, a number below its samples, no more tokens than
    its limit, no more problems than its task. So whatever is loaded can be counted.
    """
    return parse(path, path.read_bytes())


def parse(path: Path, raw: bytes) -> Contents:
    """As `load`, of the bytes of a file that errors call `path`."""
    end = raw.rfind(b"\n") + 1
    header, samples, known = None, dict[Key, dict[str, Any]](), _Known({})
    if raw.startswith(b"\x1f\x8b"):
        raise ValueError(f"{path} is compressed; unpack it with gunzip")
    if not end and not raw.startswith(_BEGINNING[: len(raw)]):
        raise ValueError(f"{path} is not a results file of moi eval: it does not begin with a header line")
    for number, line in enumerate(raw[:end].split(b"\n")[:-1], 1):
        record = _parse(path, number, line)
        if number == 1:
            header = _check_header(path, record)
            known = _Known(header["settings"])
            continue
        if not _NEEDED_KEYS <= set(record) <= _SAMPLE_KEYS:
            raise ValueError(f"{path} line {number} is no sample: it must hold {', '.join(sorted(_NEEDED_KEYS))}")
        validate(Sample, record, f"{path} line {number}")
        key = Key(record["arm"], record["item"], record["sample"])
        known.check(record, f"{path} line {number}")
        if key in samples:
            raise ValueError(f"{path} line {number} repeats {key.arm!r}, problem {key.item!r}, sample {key.sample}")
        samples[key] = record
    return Contents(header, samples, end, torn=end < len(raw))


class _Known:
    """What a header's settings allow of samples."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self._settings = settings
        own = settings.get("max_new_tokens")
        self._arms = {arm["label"]: arm.get("max_new_tokens", own) for arm in settings.get("arms", ())}
        self._items = set[str]()

    def check(self, sample: dict[str, Any], where: str) -> None:
        """ValueError for a sample of another arm or problem, a number or a length that the settings do not have."""
        settings, task = self._settings, self._settings["task"]
        if sample["arm"] not in self._arms:
            raise ValueError(f"{where} has arm={sample['arm']!r}; allowed: {', '.join(map(repr, self._arms))}")
        if sample["sample"] >= settings["samples"]:
            raise ValueError(f"{where} has sample={sample['sample']}; allowed: 0 to {settings['samples'] - 1}")
        if sample["tokens"] > (most := self._arms[sample["arm"]]):
            raise ValueError(f"{where} has tokens={sample['tokens']}; allowed: 1 to {most}")
        if sample["item"] not in self._items and len(self._items) >= task["n"]:
            raise ValueError(f"{where} has item={sample['item']!r}, problem {len(self._items) + 1} of {task['n']}")
        self.note(sample["item"])

    def note(self, item: str) -> None:
        """Count a problem that is in the file."""
        self._items.add(item)


def _parse(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:  # bad JSON or bad UTF-8
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
    for key, model in (("settings", Settings), ("environment", Environment)):
        if not isinstance(record.get(key), dict):
            raise ValueError(f"{path} has {key}={record.get(key)!r} in its first line; it must be an object")
        validate(model, record[key], f"{path} line 1, {key},")
    return record


class Journal:
    """A results file open for more samples; one process at a time."""

    def __init__(self, path: Path, file: BinaryIO, samples: dict[Key, dict[str, Any]], header: dict[str, Any]) -> None:
        self._path = path
        self._file = file
        self._header = header
        self._known = _Known(header["settings"])
        self.samples = samples

    @classmethod
    def open(
        cls, path: Path, settings: dict[str, Any], environment: dict[str, Any], items: Collection[str] | None = None
    ) -> Journal:
        """Start a file, or go on with one of the same settings; one without samples is of no settings yet.

        items  the names of all problems, where they are known

        Raises ValueError if the file has other settings or problems or cannot be read, OSError if another process
        writes it or nothing can be read back from it.
        """
        check(path)
        header = {"kind": KIND, "schema": SCHEMA, "settings": settings, "environment": environment}
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("ab")
        try:
            _lock(path, file)
        except BaseException:
            file.close()
            raise
        journal = cls(path, file, {}, json.loads(json_text.dumps(header)))
        try:
            journal._take(load(path), items)
        except BaseException:
            journal.close()
            raise
        return journal

    def _take(self, contents: Contents, items: Collection[str] | None) -> None:
        if contents.samples and contents.header is not None:
            _check_settings(self._path, contents.header["settings"], self._header["settings"])
        for line, key in enumerate(contents.samples, 2):
            if items is not None and key.item not in items:
                raise ValueError(f"{self._path} line {line} has item={key.item!r}, which is none of the problems")
        if contents.torn:
            sys.stderr.write(f"{self._path}: the last line was cut short; it is dropped and its sample decoded again\n")
        if contents.torn or not contents.samples:
            self._file.truncate(contents.end if contents.samples else 0)
        self.samples = contents.samples
        for key in contents.samples:
            self._known.note(key.item)

    def append(self, key: Key, record: dict[str, Any]) -> None:
        """Write a finished sample; it is on disk when this returns.

        Raises ValueError for one that `load` would refuse, before anything of it is written.
        """
        line = {**key._asdict(), **record}
        encoded, where = _encoded(line), f"arm {key.arm!r}, problem {key.item!r}, sample {key.sample}"
        validate(Sample, written := json.loads(encoded), where)
        self._known.check(written, where)
        if key in self.samples:
            raise ValueError(f"{where} is in {self._path} already")
        if not self.samples:
            self._write(_encoded(self._header))
        self._write(encoded)
        self.samples[key] = line

    def close(self) -> None:
        """A file that holds nothing is removed, while the lock on it is still held."""
        if not os.fstat(self._file.fileno()).st_size:
            self._path.resolve().unlink(missing_ok=True)
        self._file.close()

    def _write(self, line: bytes) -> None:
        self._file.write(line + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())


def _encoded(record: dict[str, Any]) -> bytes:
    text = json.dumps(record, ensure_ascii=False, separators=(",", ":"))
    return text.encode(errors="replace")  # half a surrogate in a text is no Unicode


def _lock(path: Path, file: BinaryIO) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise OSError(f"{path} is being written by another process") from None
    if not path.exists() or not os.path.samestat(os.fstat(file.fileno()), path.stat()):
        raise OSError(f"{path} was removed by another process, which decoded nothing; try again")


def check(path: Path) -> None:
    """OSError or ValueError unless `path` is free or holds what an evaluation wrote; before minutes are spent."""
    if is_device(path):
        raise OSError(f"--out {path} is a device; the table is made of what can be read back from the file")
    check_file(path, lambda found: True, "a results file of moi eval")
    if path.exists():
        load(path)


def _check_settings(path: Path, found: dict[str, Any], wanted: dict[str, Any]) -> None:
    for key in {**found, **wanted}:
        if found.get(key) == wanted.get(key):
            continue
        if isinstance(found.get(key), dict) and isinstance(wanted.get(key), dict):
            _check_settings(path, _inner(key, found[key]), _inner(key, wanted[key]))
        else:
            raise ValueError(
                f"{path} was started with {key}={_short(found.get(key))}, now it is {_short(wanted.get(key))}; "
                "give the same settings to go on, or another --out"
            )


def _inner(key: str, values: dict[str, Any]) -> dict[str, Any]:
    return {f"{key}.{name}": value for name, value in values.items()}


def _short(value: Any) -> str:
    """A setting in a message; arms by their labels."""
    if isinstance(value, list):
        named = (entry["label"] if isinstance(entry, dict) and "label" in entry else entry for entry in value)
        return f"[{'; '.join(map(str, named))}]"
    return repr(value)
