"""Loading a Hugging Face model for decoding from embeddings, or saying why that cannot work."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from moi.architectures import looks_up, reads_ids_inside
from moi_engines.attention import group_queries
from moi_engines.end_tokens import end_ids
from moi_engines.model_source import resolve_model
from moi_engines.request import Limits
from moi_engines.weights import check_weights

_TOKENIZERS = ("tokenizer.json", "*.model", "vocab.*", "*.tiktoken", "tekken.json")


@dataclass(frozen=True)
class Checkpoint:
    """A decoder, its tokenizer, its embedding table [V,D] and the factor it applies to looked-up rows."""

    model: Any
    tokenizer: Any
    table: Tensor
    scale: Tensor | None
    limits: Limits


def load_checkpoint(
    model: str | Path,
    device: torch.device,
    dtype: torch.dtype,
    *,
    revision: str | None = None,
    trust_remote_code: bool = False,
) -> Checkpoint:
    """The model, given as `resolve_model` takes it, in eval mode.

    trust_remote_code  run the Python that a model brings along

    Raises what `resolve_model` does, FileNotFoundError if there is no config or a weights file is missing, ValueError
    if it is unreadable or an architecture that cannot take mixtures.
    """
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    path, config = load_config(model, revision, trust_remote_code)
    check_weights(path)
    tokenizer = load_tokenizer(path, trust_remote_code)
    if not sys.stderr.isatty():
        logging.disable_progress_bar()
    with _naming(path):
        loaded = AutoModelForCausalLM.from_pretrained(
            path, config=config, dtype=dtype, local_files_only=True, trust_remote_code=trust_remote_code
        )
    if device.type == "cpu":
        group_queries(loaded)
    return _checkpoint(path, loaded.to(device).eval().requires_grad_(False), tokenizer)


def _checkpoint(path: Path, model: Any, tokenizer: Any) -> Checkpoint:
    if "inputs_embeds" not in inspect.signature(model.forward).parameters:
        raise ValueError(f"{type(model).__name__} takes no inputs_embeds, so it cannot be fed mixtures")
    table, scale = input_embedding(model)
    text = model.config.get_text_config()
    positions = getattr(text, "max_position_embeddings", None)
    limits = Limits(table.shape[0], positions, end_ids(path, model.config, tokenizer))
    return Checkpoint(model, tokenizer, table, scale, limits)


def load_config(model: str | Path, revision: str | None = None, trust_remote_code: bool = False) -> tuple[Path, Any]:
    """The folder of a model and its checked configuration; errors as `load_checkpoint`."""
    from transformers import AutoConfig

    path = resolve_model(model, revision)
    if not (path / "config.json").is_file():
        raise FileNotFoundError(f"model folder {path} has no config.json; it must be a Hugging Face model folder")
    with _naming(path):
        config = AutoConfig.from_pretrained(path, local_files_only=True, trust_remote_code=trust_remote_code)
    refuse_architecture(config)
    return path, config


def load_tokenizer(path: Path, trust_remote_code: bool = False) -> Any:
    """The fast tokenizer of a folder; FileNotFoundError if it has none, ValueError if it cannot be read."""
    from transformers import AutoTokenizer

    if not any(file.is_file() for pattern in _TOKENIZERS for file in path.glob(pattern)):
        raise FileNotFoundError(
            f"model folder {path} has no tokenizer (tokenizer.json); copy it from the model that it came from"
        )
    with _naming(path):
        tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True, trust_remote_code=trust_remote_code)
        tokenizer("a", verbose=False)  # some of what is wrong with its configuration shows only now
    if not tokenizer.is_fast:
        raise ValueError(f"the tokenizer of {path} has no tokenizer.json (fast tokenizer)")
    return tokenizer


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """What a broken file raises in the libraries that read it, as a ValueError of one line that names the folder."""
    try:
        yield
    except Exception as error:
        message = " ".join(str(error).split())
        if "trust_remote_code" in message:
            raise ValueError(
                f"model folder {path} brings Python code of its own; read it, then allow it with --trust-remote-code "
                "(trust_remote_code=True)"
            ) from error
        raise ValueError(f"model folder {path} cannot be read: {message}") from error


def refuse_architecture(config: Any) -> None:
    """ValueError if the model reads token ids anywhere but in its input embedding."""
    if getattr(config, "is_encoder_decoder", False):
        raise ValueError(f"model type {config.model_type!r} is an encoder-decoder; only decoders are supported")
    if reason := reads_ids_inside(config, config.get_text_config()):
        raise ValueError(reason)


def input_embedding(model: Any) -> tuple[Tensor, Tensor | None]:
    """The embedding table [V,D] and the factor the model applies to its rows (Gemma 3), checked on a few ids."""
    module = model.get_input_embeddings()
    table: Tensor = module.weight
    scale = getattr(module, "embed_scale", None)
    if scale is not None:
        scale = torch.as_tensor(scale, device=table.device).to(table.dtype)
    if not looks_up(module, scale):
        raise ValueError(f"{type(module).__name__} does more than look rows up; its mixtures are not defined")
    return table, scale
