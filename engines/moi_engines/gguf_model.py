"""GGUF files as Hugging Face folders, converted once.

transformers reads the file and gives back what the quantised weights stand for. They are kept as bfloat16: a rounding
of at most 0.4 %, far below that of the quantisation, in half the room of float32. A file whose weights are float32 is
kept as float32. The folders lie in a cache, named after the contents of the file.
"""

from __future__ import annotations

import hashlib
import io
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, redirect_stderr
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from moi.cache_folder import cache_folder
from moi_onnx.folder import whole_folder

_MAGIC = b"GGUF"
_FORMAT = 1  # of the conversion: another one makes folders anew
_NEEDS = ("gguf", "accelerate")
# Vocabularies that begin with the BOS where the file does not say: SentencePiece's, and Llama 3's among the byte-level.
_BOS_MODELS, _BOS_SPLITS = ("llama",), ("llama3", "llama-v3", "llama-bpe")


def is_gguf(path: Path) -> bool:
    """Whether a file begins as one."""
    with path.open("rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


def converted(file: Path, log: Callable[[str], None] = lambda text: None) -> Path:
    """The folder of a GGUF file, from the cache or made now, whole or not at all.

    Raises ImportError that names the extra, ValueError for a file that cannot be read.
    """
    from huggingface_hub.utils import WeakFileLock

    target = _cache() / f"{file.stem}-{digest(file)[:16]}-{_FORMAT}"
    if not target.is_dir():
        _check_packages()
        target.parent.mkdir(parents=True, exist_ok=True)
        with WeakFileLock(target.with_name(f"{target.name}.lock")):  # two processes convert once
            if not target.is_dir():
                log(f"convert {file} to {target}")
                with whole_folder(target) as draft:
                    convert(file, draft)
    return target


def name_of(folder: Path) -> str:
    """The name of the file that a folder in the cache was made from; any other folder's own name."""
    return folder.name.rsplit("-", 2)[0] if folder.parent == _cache().resolve() else folder.name


def _cache() -> Path:
    return cache_folder() / "gguf"


def digest(file: Path) -> str:
    """SHA-256 of a file's contents, in hexadecimal."""
    found = hashlib.sha256()
    with file.open("rb") as opened:
        while block := opened.read(1 << 20):
            found.update(block)
    return found.hexdigest()


def convert(file: Path, out: Path) -> None:
    """Write the model and tokenizer of a GGUF file to the folder `out`."""
    try:
        metadata = _metadata(file)
        with _quiet():
            _save_model(file, out, _dtype(metadata["types"]))
            _save_tokenizer(file, out, metadata)
    except Exception as error:  # whatever a broken or unknown file raises in the libraries that read it
        raise ValueError(f"GGUF file {file} cannot be read: {' '.join(str(error).split())[:300]}") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' progress bar where nobody watches it: that one has no switch."""
    with nullcontext() if sys.stderr.isatty() else redirect_stderr(io.StringIO()):
        yield


def _check_packages() -> None:
    missing = [name for name in _NEEDS if find_spec(name) is None]
    if missing:
        raise ImportError(f"GGUF files need {', '.join(missing)}; pip install 'mixture-of-inputs[gguf]'")


def _metadata(file: Path) -> dict[str, Any]:
    """Single values of the file's metadata by key, and under "types" the elements of each tensor type.

    Raises ValueError for one part of several.
    """
    from gguf import GGUFReader

    reader = GGUFReader(file)
    found = {key: field.contents() for key, field in reader.fields.items() if len(field.data) <= 1}
    if found.get("split.count", 0) > 1:
        raise ValueError(f"it is one of {found['split.count']} parts; join them with llama-gguf-split --merge")
    types: dict[str, int] = {}
    for tensor in reader.tensors:
        types[tensor.tensor_type.name] = types.get(tensor.tensor_type.name, 0) + int(tensor.n_elements)
    return {**found, "types": types}


def _dtype(types: dict[str, int]) -> torch.dtype:
    """float32 if most weights are, else bfloat16 (norms are float32 in every file)."""
    return torch.float32 if types.get("F32", 0) * 2 > sum(types.values()) else torch.bfloat16


def _save_model(file: Path, out: Path, dtype: torch.dtype) -> None:
    from transformers import AutoModelForCausalLM, GgufConfig

    dense = GgufConfig(dequantize=True)  # with a kernel for it, transformers would keep the weights packed
    read = AutoModelForCausalLM.from_pretrained(
        file.parent, gguf_file=file.name, quantization_config=dense, dtype=dtype, local_files_only=True
    )
    config, generation = read.config, read.generation_config
    for key in ("quantization_config", "_name_or_path"):
        if hasattr(config, key):
            delattr(config, key)
    config.dtype = dtype
    with torch.device("meta"):  # a model that was never quantised: save_pretrained refuses the one that was read
        model = type(read)(config)
    model.load_state_dict(read.state_dict(), assign=True)
    model.tie_weights()
    model.generation_config = generation
    model.save_pretrained(out)


def _save_tokenizer(file: Path, out: Path, metadata: dict[str, Any]) -> None:
    """The tokenizer, with the BOS where the file says so: transformers leaves it out for some vocabularies."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name, local_files_only=True)
    bos, wanted = metadata.get("tokenizer.ggml.bos_token_id"), _adds_bos(metadata)
    set_bos(tokenizer, bos, wanted)
    tokenizer.save_pretrained(out)
    saved = AutoTokenizer.from_pretrained(out, local_files_only=True)
    if bos is not None and (saved("a").input_ids[0] == bos) != wanted:
        raise ValueError(f"its tokenizer cannot be made to {'add' if wanted else 'leave out'} the BOS")


def _adds_bos(metadata: dict[str, Any]) -> bool:
    said = metadata.get("tokenizer.ggml.add_bos_token")
    if said is not None:
        return bool(said)
    pre = metadata.get("tokenizer.ggml.pre")
    return metadata.get("tokenizer.ggml.model") in _BOS_MODELS or pre in _BOS_SPLITS


def set_bos(tokenizer: Any, bos: int | None, wanted: bool) -> None:
    """Make a fast tokenizer begin its texts with the BOS, or not."""
    from tokenizers.processors import TemplateProcessing

    if bos is None or (tokenizer("a").input_ids[0] == bos) == wanted:
        return
    word = tokenizer.convert_ids_to_tokens(bos)
    begin = f"{word} " if wanted else ""
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=f"{begin}$A", pair=f"{begin}$A {begin}$B:1", special_tokens=[(word, bos)]
    )
