"""moi_config.json: what a runtime has to know about an exported folder."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from moi.config import ENTROPIES, PRIORS
from moi_onnx.options import DTYPES, FUNCTIONS, QUANTIZE, VARIANTS

MODEL = "model.onnx"
DATA = "model.onnx.data"
CONFIG = "moi_config.json"
# 3: no uniforms for policies that draw; 2: no bounds of entropy behind the parameters; 1: an input beta instead of them
FORMAT = 4
NOISE = "float32 uniform in [0,1); token = inverse CDF over candidates ordered by (logit desc, id asc)"
UNIFORMS = "float32 [batch, 8 + top_k] in [0,1), of moi.uniforms(seed, position); zeros where no policy draws"
CACHE_LAYOUT = "[batch, heads, positions, width]"

_Count = Annotated[int, Field(ge=1, lt=1 << 31)]


def _one_of(names: Iterable[str | None]) -> Any:
    return Field(pattern=f"^({'|'.join(map(str, names))})$")


@dataclass(frozen=True)
class Manifest:
    """Contents of moi_config.json.

    top_k, entropy, prior  of the mixture, fixed in the graph; mixing is False for a graph without it
    policies               that the graph knows, in the order of their codes, each with its parameters in theirs
    candidates             of the sampler inside the graph
    max_length             positions of the static cache; None for the concat variant
    positions              most positions of a row: max_length, or what the model was made for (None: unknown)
    heads, width, layers   of the key/value cache
    files                  size in bytes of each file that a load needs whole
    plugins                nodes that a TensorRT plugin may replace, with the plugin's name and version
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(strict=True, extra="forbid")

    variant: Annotated[str, _one_of(VARIANTS)]
    dtype: Annotated[str, _one_of(DTYPES)]
    functions: Annotated[str, _one_of(FUNCTIONS)]
    quantize: Annotated[str, _one_of(QUANTIZE[1:])] | None
    mixing: bool
    top_k: _Count
    entropy: Annotated[str, _one_of(ENTROPIES)]
    prior: Annotated[str, _one_of(PRIORS)]
    policies: Annotated[dict[str, list[str]], Field(min_length=1)]
    candidates: _Count
    vocab: _Count
    max_length: _Count | None
    positions: _Count | None
    eos: list[int]
    layers: _Count
    heads: _Count
    width: _Count
    files: dict[str, int]
    plugins: list[dict[str, str]]
    versions: dict[str, str]
    noise: str = NOISE
    uniforms: str = UNIFORMS
    cache_layout: str = CACHE_LAYOUT
    format: int = FORMAT

    def __post_init__(self) -> None:
        """ValueError for fields that do not go together."""
        static = self.variant == "static"
        if static != (self.max_length is not None) or (static and self.positions != self.max_length):
            raise ValueError(
                f"max_length={self.max_length} and positions={self.positions} do not go with the {self.variant} variant"
            )
        for name in ("top_k", "candidates"):
            if getattr(self, name) > self.vocab:
                raise ValueError(f"{name}={getattr(self, name)} does not go with vocab={self.vocab}")

    @property
    def slots(self) -> int:
        """Components of a mixture that a step makes."""
        return self.top_k + 1 if self.mixing else 1

    def write(self, folder: Path) -> None:
        """Into `folder`, as moi_config.json."""
        (folder / CONFIG).write_text(json.dumps(dataclasses.asdict(self), indent=2) + "\n")


def read_manifest(folder: str | Path) -> tuple[Path, Manifest]:
    """The folder and its checked manifest.

    Raises FileNotFoundError for a missing folder or file, ValueError for one that cannot be read, was written
    by another format or is cut short.
    """
    path = Path(folder)
    if not path.is_dir():
        raise FileNotFoundError(f"ONNX folder {path} does not exist")
    if not (path / CONFIG).is_file():
        raise FileNotFoundError(f"ONNX folder {path} has no {CONFIG}; make one with `moi export`")
    manifest = _parse(path / CONFIG)
    _check_files(path, manifest.files)
    return path, manifest


def file_sizes(folder: Path) -> dict[str, int]:
    """Bytes of the files that a load needs, as far as they are there."""
    return {name: (folder / name).stat().st_size for name in (MODEL, DATA) if (folder / name).is_file()}


def _parse(file: Path) -> Manifest:
    raw = file.read_bytes()
    try:
        payload = json.loads(raw)
        found = payload.get("format") if isinstance(payload, Mapping) else payload
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file} cannot be read: {error}") from error
    if found != FORMAT:
        raise ValueError(f"{file} has format {found!r}; allowed: {FORMAT}. Export the model again")
    try:
        return TypeAdapter(Manifest).validate_json(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = "".join(f"{part}: " for part in first["loc"])
        reason = where + first["msg"].removeprefix("Value error, ")
        raise ValueError(f"{file} is not complete or not ours: {reason}. Export the model again") from None


def _check_files(path: Path, files: Mapping[str, int]) -> None:
    for name, size in files.items():
        if not (path / name).is_file():
            raise FileNotFoundError(f"ONNX folder {path} has no {name}; export the model again")
        found = (path / name).stat().st_size
        if found != size:
            raise ValueError(f"{path / name} has {found} bytes instead of {size}; export the model again")
