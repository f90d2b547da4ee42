"""What people call a model, as a folder: a folder, a hub id or a GGUF file."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from moi_engines.gguf_model import converted, is_gguf, name_of
from moi_engines.hub import download

Log = Callable[[str], None]


def resolve_model(model: str | Path, revision: str | None = None, *, log: Log = lambda text: None) -> Path:
    """The Hugging Face folder of `model`.

    model     a folder; a GGUF file, or a folder that holds one and no other weights; a hub id, "name" or
              "owner/name", with ":FILE.gguf" or ":Q4_K_M" behind it where there are several GGUF files.
              What exists here goes before the hub; a `Path`, and text that only a path can be, never reach it
    revision  branch, tag or commit of a hub id
    log       is told what takes time

    Raises FileNotFoundError, ValueError, OSError or ImportError that names the model and the way out, in one line.
    """
    text = str(model)
    if not text or "\0" in text:
        raise ValueError(f"model {text!r} is not allowed; give a folder, a hub id or a GGUF file")
    path = Path(os.path.expanduser(text))
    if path.exists() and revision is not None:
        raise ValueError(f"revision={revision!r} is not allowed; {text} is here, and only hub ids have revisions")
    if not path.exists():
        if isinstance(model, Path) or _only_a_path(text):
            shown = text if text.isprintable() else repr(text)
            raise FileNotFoundError(f"model {'file' if path.suffix == '.gguf' else 'folder'} {shown} does not exist")
        repo, _, gguf = text.partition(":")
        path = download(repo, revision, gguf or None, log)
    return _folder(path, log)


def model_name(folder: Path) -> str:
    """What to call a resolved model: the hub id of a snapshot in the hub's cache, a GGUF file's name, the folder's."""
    whole = folder.resolve()
    cached = whole.parent.parent.name
    if whole.parent.name == "snapshots" and cached.startswith("models--"):
        return cached.removeprefix("models--").replace("--", "/")
    return name_of(whole)


def _folder(path: Path, log: Log) -> Path:
    if path.is_dir():
        files = sorted(path.glob("*.gguf"))
        if not files or (path / "config.json").is_file():
            return path
        if len(files) > 1:
            names = ", ".join(file.name for file in files)
            raise ValueError(f"model folder {path} holds several GGUF files, name one: {names}")
        path = files[0]
    if not is_gguf(path):
        raise ValueError(f"model {path} is a file but no GGUF file; give a folder, a hub id or a GGUF file")
    return converted(path, log)


def _only_a_path(text: str) -> bool:
    """Whether a name cannot be a hub id, so that a slip never leaves this machine."""
    local = not text.isprintable() or text.startswith((".", "/", "~")) or text.endswith(("/", os.sep)) or "\\" in text
    return local or text.count("/") > 1 or (text.endswith(".gguf") and ":" not in text)
