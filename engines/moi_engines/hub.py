"""Models of the Hugging Face hub: only the files that are needed, in its own cache; its errors as one line.

Its settings are huggingface_hub's: HF_HOME, HF_TOKEN, HF_ENDPOINT, HF_HUB_OFFLINE.
"""

from __future__ import annotations

import errno
import shutil
import sys
from collections.abc import Callable, Iterable
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

_METADATA_SECONDS = 10.0
_SIDE_FILES = ("*.json", "*.jinja", "*.txt", "*.model", "*.py")  # configuration, tokenizer, a model's own code
_WEIGHTS = ("model.safetensors", "model-*-of-*.safetensors", "pytorch_model.bin", "pytorch_model-*-of-*.bin")


def download(
    repo: str, revision: str | None = None, gguf: str | None = None, log: Callable[[str], None] = lambda text: None
) -> Path:
    """The folder of a model in the hub's cache, or the GGUF file where the repository holds nothing else.

    gguf  the file to take where there are several: its name or a part of it, such as "Q4_K_M"

    What is cached is enough where the hub cannot be reached. Raises ValueError for what is no hub id, OSError for
    all else, with the way out.
    """
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import disable_progress_bars

    if not sys.stderr.isatty():
        disable_progress_bars()
    try:
        info = HfApi().model_info(repo, revision=revision, files_metadata=True, timeout=_METADATA_SECONDS)
    except HFValidationError as error:
        raise ValueError(f"model folder {repo} does not exist, nor is that a hub id: {_line(error)}") from None
    except Exception as error:  # whatever httpx and the hub's client raise
        folder = _cached(repo, revision)
        if folder is None:
            raise OSError(explain(error, repo, revision)) from error
        return _inside(folder, repo, gguf)
    sizes = {file.rfilename: file.size or 0 for file in info.siblings or []}
    wanted = choose(sizes, repo, gguf)
    try:
        missing = _missing(repo, {name: sizes[name] for name in wanted}, info.sha)
        if missing:
            log(f"download {repo}, {missing / 1e6:.0f} MB")
        folder = Path(snapshot_download(repo, revision=revision, allow_patterns=wanted))
    except Exception as error:  # as above, and whatever a full disk raises
        raise OSError(explain(error, repo, revision)) from error
    return folder / wanted[0] if wanted[0].endswith(".gguf") else folder


def choose(names: Iterable[str], repo: str, gguf: str | None) -> list[str]:
    """The files to fetch: configuration, tokenizer and one kind of weights; or one GGUF file alone."""
    top = sorted(name for name in names if "/" not in name)
    files = sorted(name for name in names if name.endswith(".gguf"))
    weights = next((found for kind in _WEIGHTS if (found := [name for name in top if fnmatch(name, kind)])), [])
    if gguf is None and (weights or not files):
        if not weights:
            raise FileNotFoundError(f"the hub's {repo} has no weights that can be read (safetensors, GGUF)")
        return [name for name in top if any(fnmatch(name, kind) for kind in _SIDE_FILES)] + weights
    return [_one(files, repo, gguf)]


def _one(files: list[str], repo: str, gguf: str | None) -> str:
    exact = [name for name in files if name == gguf]
    found = exact or [name for name in files if gguf is None or gguf.lower() in name.lower()]
    if len(found) == 1:
        return found[0]
    asked = "" if gguf is None else f" that fit {gguf!r}"
    listed = ", ".join(found or files) or "none"
    raise FileNotFoundError(
        f"{repo} holds {len(found)} GGUF files{asked}; name one as {repo}:FILE.gguf (there are: {listed})"
    )


def _cached(repo: str, revision: str | None) -> Path | None:
    """The snapshot in the cache, whole or not; None where there is none."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return Path(snapshot_download(repo, revision=revision, local_files_only=True, allow_patterns=[]))
    except LocalEntryNotFoundError:
        return None


def _inside(folder: Path, repo: str, gguf: str | None) -> Path:
    """The snapshot, or the GGUF file in it."""
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*.gguf") if path.is_file()]
    if gguf is None and (not names or (folder / "config.json").is_file()):
        return folder
    return folder / _one(sorted(names), repo, gguf)


def _missing(repo: str, sizes: dict[str, int], commit: str | None) -> int:
    """Bytes of these files that are not in the cache; OSError if its disk has no room for them."""
    from huggingface_hub import constants, try_to_load_from_cache

    cache = Path(constants.HF_HUB_CACHE)
    absent = [name for name in sizes if not isinstance(try_to_load_from_cache(repo, name, revision=commit), str)]
    needed = sum(sizes[name] for name in absent)
    there = next(path for path in [cache, *cache.absolute().parents] if path.exists())
    free = shutil.disk_usage(there).free
    if needed > free:
        raise OSError(errno.ENOSPC, f"{repo} needs {needed / 2**30:.1f} GiB, {cache} has {free / 2**30:.1f} GiB free")
    return needed


def explain(error: Exception, repo: str, revision: str | None) -> str:
    """What went wrong with a model of the hub and what to do about it, in one line."""
    from huggingface_hub import constants, errors

    name = f"model folder {repo} does not exist; on the hub it"
    page = f"{constants.ENDPOINT}/{repo}"
    if isinstance(error, errors.GatedRepoError):
        return f"{name} is gated: accept its licence at {page}, then `hf auth login` or set HF_TOKEN"
    if isinstance(error, errors.RepositoryNotFoundError):
        return f"{name} does not exist, or is private: check the spelling, or `hf auth login` or set HF_TOKEN"
    if isinstance(error, errors.RevisionNotFoundError):
        return f"{name} has no revision {revision!r}: {page}/tree/main lists branches and tags"
    if isinstance(error, errors.DisabledRepoError):
        return f"{name} has been disabled: {page}"
    if isinstance(error, errors.OfflineModeIsEnabled):
        where = constants.HF_HUB_CACHE
        at = "" if revision is None else f" at revision {revision!r}"
        return f"{name} is not in the cache {where}{at} and HF_HUB_OFFLINE is set: unset it, or name a folder"
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{name} is too large for the disk: {_line(error)}; HF_HOME moves the cache"
    return f"{name} cannot be had: {_reason(error)}"


def _reason(error: Exception) -> str:
    import httpx
    from huggingface_hub import constants, errors

    if isinstance(error, errors.HfHubHTTPError) and error.response is not None:
        status = error.response.status_code
        hint = ": the token is not valid (`hf auth login`)" if status == 401 else "; try again later"
        return f"{constants.ENDPOINT} answered {status}{hint}"
    if isinstance(error, (httpx.TransportError, errors.LocalEntryNotFoundError)):
        return f"{constants.ENDPOINT} cannot be reached ({_line(error)}): check the network, or name a folder"
    return _line(error) or type(error).__name__


def _line(error: Any) -> str:
    """The message of an error as one line of bearable length."""
    return " ".join(str(error).split())[:300]
