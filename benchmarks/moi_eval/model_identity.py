"""Which model a folder holds, by its bytes."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from moi_engines.model_source import model_name

# What decoding depends on; a README or a picture beside it does not change the model.
_READ = {
    *(".json", ".jinja", ".model", ".txt", ".py"),
    *(".safetensors", ".bin", ".pt", ".gguf", ".onnx", ".data", ".engine"),
}
_CHUNK = 1 << 22


def identity(folder: Path) -> dict[str, str]:
    """Name and digest of a model (a folder or one file): every byte of its configuration, tokenizer and weights.

    A second for one to two gigabytes and file, several files at a time: less than loading them takes. Nothing is
    cached by name, size or date, since files that agree in them may hold other weights.
    """
    files = [folder] if folder.is_file() else sorted(path for path in folder.iterdir() if path.suffix in _READ)
    files = [path for path in files if path.is_file()]
    with ThreadPoolExecutor(4) as pool:
        digests = list(pool.map(_digest, files))
    text = "".join(f"{path.name} {digest}\n" for path, digest in zip(files, digests, strict=True))
    return {"name": model_name(folder), "digest": hashlib.sha256(text.encode()).hexdigest()[:16]}


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
