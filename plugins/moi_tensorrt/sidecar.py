"""What an engine file does not say about itself, in JSON beside it: versions, profile, chips, hash of the source."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

FORMAT = 1
_CHUNK = 1 << 22


@dataclass(frozen=True)
class Profile:
    """Largest sizes: rows, prompt tokens of one call, positions of the cache, slots of a mixture."""

    max_batch: int
    max_prompt: int
    max_length: int
    slots: int


@dataclass(frozen=True)
class Sidecar:
    """runtime and version it was compiled with, chips it runs on, and the sha256 of model.onnx and its data."""

    runtime: str
    version: str
    capabilities: tuple[str, ...]
    profile: Profile
    layers: dict[str, int]
    plugin: str | None
    source: str
    engine: str

    def write(self, engine: Path) -> Path:
        path = sidecar_path(engine)
        path.write_text(json.dumps({"format": FORMAT, **asdict(self)}, indent=2) + "\n", encoding="utf-8")
        return path


def sidecar_path(engine: Path) -> Path:
    return engine.with_name(engine.name + ".json")


def read_sidecar(engine: Path) -> Sidecar:
    """FileNotFoundError or ValueError that names the file and what is wrong with it."""
    path = sidecar_path(engine)
    for file in (engine, path):
        if not file.is_file():
            raise FileNotFoundError(f"{file} does not exist; compile one with: moi compile DIR --out {engine.name}")
    try:
        content: dict[str, Any] = json.loads(path.read_bytes())
        if content.pop("format") != FORMAT:
            raise ValueError(f"its format is not {FORMAT}")
        return TypeAdapter(Sidecar).validate_json(json.dumps(content), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ValueError(f"{path} is not the sidecar of a MoI engine: {where}: {first['msg']}") from None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path} is not the sidecar of a MoI engine: {error}") from error


def source_hash(folder: Path) -> str:
    """sha256 over model.onnx and its external data."""
    digest = hashlib.sha256()
    for name in ("model.onnx", "model.onnx.data"):
        if (folder / name).is_file():
            digest.update(file_hash(folder / name).encode())
    return digest.hexdigest()


def file_hash(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
