"""Folders that appear whole or not at all, and replace nothing but what an earlier run wrote.

A folder lists what was written into it in moi_files.json: name and sha256 of each file. The list is put there first,
so that the files of a run that was killed are known, too, and do not block the next.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from moi import json_text
from moi.files import check_writable, replace_file, sync_folder

LIST = "moi_files.json"
_FORMAT = 1
_CHUNK = 1 << 22
_PREFIX, _SUFFIX = ".moi-", ".partial"
Written = dict[str, list[str]]  # digests by name; several while one file takes the place of another


def check_target(target: Path, force: bool, keep: tuple[Path, ...] = ()) -> None:
    """OSError unless `target` is free, an empty folder, or with `force` one that holds nothing but what we wrote.

    A killed run's files are not in the way. keep: what is read, and so may not be the target or lie in it; ValueError.
    """
    where = target.resolve()
    for source in keep:
        if source.resolve().is_relative_to(where):
            raise ValueError(f"--out {target} is or holds {source}, which is read; give another folder")
    if where.exists() and not where.is_dir():
        raise FileExistsError(f"{target} exists and is not a folder")
    if where.is_dir():
        _check_contents(target, where, force)
    check_writable(where)


def _check_contents(target: Path, where: Path, force: bool) -> None:
    entries = [entry for entry in where.iterdir() if not _is_leftover(entry)]
    if not entries:
        return
    written = _read_list(where)
    foreign = sorted(entry.name for entry in entries if not _is_ours(entry, written))
    if foreign and force:
        raise FileExistsError(
            f"folder {target} holds what moi did not write ({', '.join(foreign[:3])}); --force replaces only a folder "
            "that holds nothing else, give another"
        )
    if foreign or (_is_whole(where, written) and not force):
        raise FileExistsError(f"folder {target} is not empty; --force replaces a folder that moi wrote")


@contextmanager
def whole_folder(
    target: Path, force: bool = False, *, keep: tuple[Path, ...] = (), last: str | None = None
) -> Iterator[Path]:
    """A temporary folder whose files are those of `target` at the end; `last` is the one that comes last.

    An error or Ctrl-C removes it and leaves `target` as it was. Raises as `check_target`. A folder that exists stays
    the same one: it may be the current folder, a mount or what a link points to.
    """
    check_target(target, force, keep)
    where = target.resolve()
    within = where if where.is_dir() else where.parent
    within.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(within, where)
    draft = Path(tempfile.mkdtemp(prefix=_prefix(where), suffix=_SUFFIX, dir=within))
    lock = os.open(draft, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)  # until the process ends: drafts of the living are not leftovers
    try:
        yield draft
        written = _finish(draft)
        check_target(target, force, keep)  # somebody else may have been faster
        if within is where or where.exists():
            _move_into(draft, where, written, last)
        else:
            draft.chmod(0o755)  # mkdtemp's folders are private
            draft.rename(where)
            sync_folder(within)
    finally:
        os.close(lock)
        shutil.rmtree(draft, ignore_errors=True)


def _finish(draft: Path) -> Written:
    """The list of a draft's files, written beside them; everything is on disk."""
    written: Written = {}
    for path in sorted(draft.iterdir()):
        with path.open("rb") as file:
            os.fsync(file.fileno())
        written[path.name] = [_digest(path)]
    replace_file(draft / LIST, _list_bytes(written))
    return written


def _move_into(draft: Path, where: Path, written: Written, last: str | None) -> None:
    """Files of the draft over those of the folder; whenever it is cut short, `last` is missing and the list is true."""
    old = _read_list(where)
    both = {name: [*old.get(name, []), *written.get(name, [])] for name in {**old, **written}}
    replace_file(where / LIST, _list_bytes(both))
    for name in sorted(old, key=lambda name: name != last):  # `last` goes first
        (where / name).unlink(missing_ok=True)
    sync_folder(where)
    for name in sorted(written, key=lambda name: name == last):
        (draft / name).rename(where / name)
    sync_folder(where)
    replace_file(where / LIST, _list_bytes(written))


def _list_bytes(written: Written) -> bytes:
    return (json_text.dumps({"format": _FORMAT, "files": written}, indent=2) + "\n").encode()


def _read_list(where: Path) -> Written:
    """The list of a folder; empty where there is none that we wrote."""
    try:
        content = json.loads((where / LIST).read_bytes())
        files = content["files"] if content["format"] == _FORMAT else {}
        return {str(name): [str(digest) for digest in digests] for name, digests in files.items()}
    except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return {}


def _is_ours(entry: Path, written: Written) -> bool:
    if entry.is_symlink() or not entry.is_file():
        return False
    if entry.name == LIST:
        return bool(written)
    return entry.name in written and _digest(entry) in written[entry.name]


def _is_whole(where: Path, written: Written) -> bool:
    return all((where / name).is_file() and len(digests) == 1 for name, digests in written.items())


def _prefix(where: Path) -> str:
    return f"{_PREFIX}{where.name[:100]}-"


def _is_leftover(entry: Path) -> bool:
    """Whether an entry is the draft of a run: a folder of that name. The living hold a lock on theirs."""
    name = entry.name
    return name.startswith(_PREFIX) and name.endswith(_SUFFIX) and entry.is_dir() and not entry.is_symlink()


def _remove_leftovers(within: Path, where: Path) -> None:
    """Drafts of this folder whose runs were killed."""
    for entry in within.iterdir():
        if not _is_leftover(entry) or not entry.name.startswith(_prefix(where)):
            continue
        lock = os.open(entry, os.O_RDONLY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(entry, ignore_errors=True)
        except BlockingIOError:
            continue
        finally:
            os.close(lock)


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
