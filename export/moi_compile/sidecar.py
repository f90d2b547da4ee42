"""What an engine file does not say about itself, in JSON beside it: what it fits, and the whole state loop.

A loop in another language needs the engine and this file, see docs/engine-without-python.md.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from moi import json_text
from moi.files import check_file, write_file
from moi_compile.rules import RULES, PolicySpec
from moi_compile.tensors import TensorSpec
from moi_onnx.loop import DECODE, FED_BACK, HOST_READS, PREFILL
from moi_onnx.manifest import Manifest

FORMAT = 2  # 1: no description of the loop
_EARLIER = (1,)
_KEYS_1 = {"format", "runtime", "version", "capabilities", "profile", "layers", "plugin", "source", "engine"}
PROFILES = {PREFILL: 0, DECODE: 1}  # numbers in the order in which they are added
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
    """runtime and version it was compiled with, chips it runs on, and the sha256 of model.onnx and its data.

    tensors     all inputs, then all outputs
    aliases     output -> input whose memory it is written to
    model       moi_config.json of the export
    policies    that rows may have, with the columns and defaults of their parameters
    profiles    number of each optimisation profile
    feeds       output -> input of the next step that takes it as it is
    host_reads  outputs that the host reads after each step
    rules       what no table says, in words: `moi_compile.rules`
    """

    runtime: str
    version: str
    capabilities: tuple[str, ...]
    profile: Profile
    layers: dict[str, int]
    plugin: str | None
    source: str
    engine: str
    tensors: tuple[TensorSpec, ...]
    aliases: dict[str, str]
    model: Manifest
    policies: tuple[PolicySpec, ...]
    profiles: dict[str, int] = field(default_factory=lambda: dict(PROFILES))
    feeds: dict[str, str] = field(default_factory=lambda: dict(FED_BACK))
    host_reads: tuple[str, ...] = HOST_READS
    rules: dict[str, str] = field(default_factory=lambda: dict(RULES))


def check_out(engine: Path) -> None:
    """FileExistsError unless both files are free or an engine and its sidecar as `write_engine` leaves them."""
    check_file(engine, _is_engine, "an engine that moi compile wrote")
    check_file(sidecar_path(engine), _is_sidecar, "the sidecar of an engine that moi compile wrote")


def write_engine(out: Path, data: bytes, sidecar: Sidecar) -> None:
    """The engine and its sidecar. Cut short at any point, there is no engine, or one that its sidecar describes."""
    check_out(out)
    out.resolve().unlink(missing_ok=True)  # the old one, which the new sidecar does not describe
    text = json_text.dumps({"format": FORMAT, **asdict(sidecar)}, indent=2) + "\n"
    write_file(sidecar_path(out), text, _is_sidecar, "a sidecar")
    write_file(out, data, _is_engine, "an engine")


def _is_engine(path: Path) -> bool:
    return sidecar_path(path).is_file() and _engine_hash(sidecar_path(path)) == file_hash(path)


def _is_sidecar(path: Path) -> bool:
    return bool(_engine_hash(path))


def _engine_hash(path: Path) -> str:
    """Of a sidecar of this format, or an earlier one, which is replaced with its engine."""
    content = json.loads(path.read_bytes())
    if isinstance(content, dict) and content.get("format") in _EARLIER and set(content) == _KEYS_1:
        return str(content["engine"])
    return _read(path).engine


def sidecar_path(engine: Path) -> Path:
    """Of an engine file: beside it."""
    return engine.with_name(engine.name + ".json")


def read_sidecar(engine: Path) -> Sidecar:
    """FileNotFoundError or ValueError that names the file and what is wrong with it."""
    path = sidecar_path(engine)
    for file in (engine, path):
        if not file.is_file():
            raise FileNotFoundError(f"{file} does not exist; compile one with: moi compile DIR --out {engine.name}")
    return _read(path)


def _read(path: Path) -> Sidecar:
    try:
        content: dict[str, Any] = json.loads(path.read_bytes())
        if content.pop("format") != FORMAT:
            raise ValueError(f"its format is not {FORMAT}; compile the engine again")
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
    """SHA-256 of its contents."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
