"""Whether the files of a model folder are all there and whole, before a library trips over one of them."""

from __future__ import annotations

import json
from pathlib import Path

_SINGLE = ("model.safetensors", "pytorch_model.bin")
_LFS = b"version https://git-lfs"


def check_weights(folder: Path) -> None:
    """FileNotFoundError for a folder without weights or without all of them, ValueError for a file cut short."""
    names = weight_files(folder)
    if not names:
        raise FileNotFoundError(
            f"model folder {folder} has no weights ({', '.join(_SINGLE)}, or an index of several files)"
        )
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise FileNotFoundError(
            f"model folder {folder} lacks {len(missing)} of {len(names)} weight files, {missing[0]} first; "
            "its download did not end, start it again"
        )
    for name in names:
        _check_whole(folder, name)


def weight_files(folder: Path) -> list[str]:
    """Names of the files that hold the weights, whether they are there or not; safetensors where there is a choice."""
    for single in _SINGLE:
        index = folder / f"{single}.index.json"
        if (folder / single).is_file():
            return [single]
        if index.is_file():
            return _shards(index)
    return []


def _shards(index: Path) -> list[str]:
    try:
        return sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{index} cannot be read: it must be JSON with a weight_map") from error


def _check_whole(folder: Path, name: str) -> None:
    size = (folder / name).stat().st_size
    with (folder / name).open("rb") as file:
        start = file.read(len(_LFS))
        if start == _LFS:
            raise ValueError(f"model folder {folder} cannot be read: {name} is a git-lfs pointer; say `git lfs pull`")
        if not name.endswith(".safetensors"):
            return
        length = int.from_bytes(start[:8], "little")
        file.seek(8)
        needed = _needed(length, file.read(min(length, size)))
    if needed is None or needed > size:
        of = "" if needed is None else f" of {needed}"
        raise ValueError(
            f"model folder {folder} cannot be read: {name} is cut short ({size}{of} bytes); download it again"
        )


def _needed(length: int, header: bytes) -> int | None:
    """Bytes that a safetensors file says it has; None if its header is no header.

    https://huggingface.co/docs/safetensors: eight bytes of length, a JSON header, the tensors.
    """
    try:
        entries = json.loads(header)
        ends = [entry["data_offsets"][1] for key, entry in entries.items() if key != "__metadata__"]
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        return None
    return 8 + length + max(ends, default=0)
