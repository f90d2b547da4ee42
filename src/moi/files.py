"""What commands write: whole or not at all, never over what they did not write."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

Ours = Callable[[Path], bool]
_DEVICES = ("/dev/", "/proc/")


def check_file(path: Path, ours: Ours, what: str, option: str = "--out") -> None:
    """Raise unless `path` is free, empty, a device, or a file that `ours` recognises as `what` an earlier run wrote.

    IsADirectoryError for a folder, NotADirectoryError for a parent that is a file, FileExistsError for a file of
    another kind, PermissionError where nothing may be written. Links are followed.
    """
    target = path.resolve()
    if is_device(path):
        return
    if target.is_dir():
        raise IsADirectoryError(f"{option} {path} is a folder; give the name of a file")
    if target.exists() and target.stat().st_size and not _recognised(target, ours):
        raise FileExistsError(f"{option} {path} exists and is not {what}; it is left as it is, give another name")
    check_writable(target.parent, option)


def _recognised(path: Path, ours: Ours) -> bool:
    try:
        return ours(path)
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):  # whatever a foreign file says
        return False


def check_writable(folder: Path, option: str = "--out") -> None:
    """OSError unless `folder` is one that may be written in, or could be made."""
    nearest = folder.resolve()
    while not nearest.exists():
        nearest = nearest.parent
    if not nearest.is_dir():
        raise NotADirectoryError(f"{option}: {nearest} is a file, so nothing can be written below it")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise PermissionError(f"{option}: folder {nearest} may not be written in")


def is_device(path: Path) -> bool:
    """Whether a path names a device, pipe or open file of this process, which is written to and never replaced."""
    absolute = os.path.abspath(path)
    return absolute.startswith(_DEVICES) or (path.exists() and not path.is_file() and not path.is_dir())


def write_file(path: Path, content: str | bytes, ours: Ours, what: str, option: str = "--out") -> None:
    """Put `content` at `path` after `check_file`: the old or the new file at any time, on disk when this returns."""
    check_file(path, ours, what, option)
    data = content.encode() if isinstance(content, str) else content
    if is_device(path):
        path.write_bytes(data)
        return
    target = path.resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    replace_file(target, data)


def replace_file(target: Path, data: bytes) -> None:
    """Rename a finished copy over `target`, which keeps its mode; an error leaves it as it was."""
    descriptor, name = tempfile.mkstemp(prefix=f".{target.name[:100]}.", suffix=".partial", dir=target.parent)
    draft = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.chmod(target.stat().st_mode & 0o7777 if target.exists() else 0o666 & ~_umask())
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)
    sync_folder(target.parent)


def sync_folder(folder: Path) -> None:
    """Renames and removals in a folder are on disk when this returns."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _umask() -> int:
    """What the process takes from the mode of new files; asking means setting it for an instant."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
