"""Loading a Hugging Face model folder for decoding from embeddings, or saying why that cannot work."""

from __future__ import annotations

import inspect
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from moi_engines.end_tokens import end_ids
from moi_engines.request import Limits

# They look ids up again inside the layers (per-layer embeddings, n-gram tables): a mixture has no id.
READS_IDS_ELSEWHERE = ("gemma3n", "gemma4", "gemma4_unified", "longcat_flash_ngram")
_PER_LAYER_FIELDS = ("hidden_size_per_layer_input", "vocab_size_per_layer_input", "ngram_vocab_size_ratio")


@dataclass(frozen=True)
class Checkpoint:
    """A decoder, its tokenizer, its embedding table [V,D] and the factor it applies to looked-up rows."""

    model: Any
    tokenizer: Any
    table: Tensor
    scale: Tensor | None
    limits: Limits


def load_checkpoint(folder: str | Path, device: torch.device, dtype: torch.dtype) -> Checkpoint:
    """The model in `folder`, in eval mode.

    Raises FileNotFoundError if there is no such folder or config, ValueError if it is unreadable or an
    architecture that cannot take mixtures.
    """
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    path, config = load_config(folder)
    if not sys.stderr.isatty():
        logging.disable_progress_bar()
    try:
        tokenizer = load_tokenizer(path)
        model = AutoModelForCausalLM.from_pretrained(path, config=config, dtype=dtype, local_files_only=True)
    except Exception as error:  # whatever a broken file raises in the libraries that read it
        raise ValueError(f"model folder {path} cannot be read: {error}") from error
    model = model.to(device).eval().requires_grad_(False)
    if "inputs_embeds" not in inspect.signature(model.forward).parameters:
        raise ValueError(f"{type(model).__name__} takes no inputs_embeds, so it cannot be fed mixtures")
    table, scale = input_embedding(model)
    text = config.get_text_config()
    limits = Limits(table.shape[0], getattr(text, "max_position_embeddings", None), end_ids(path, config, tokenizer))
    return Checkpoint(model, tokenizer, table, scale, limits)


def load_config(folder: str | Path) -> tuple[Path, Any]:
    """The folder and its checked configuration; errors as `load_checkpoint`."""
    from transformers import AutoConfig

    path = Path(folder)
    if not path.is_dir():
        raise FileNotFoundError(f"model folder {path} does not exist")
    if not (path / "config.json").is_file():
        raise FileNotFoundError(f"model folder {path} has no config.json; it must be a Hugging Face model folder")
    try:
        config = AutoConfig.from_pretrained(path, local_files_only=True)
    except Exception as error:  # whatever a broken file raises in the libraries that read it
        raise ValueError(f"model folder {path} cannot be read: {error}") from error
    refuse_architecture(config)
    return path, config


def load_tokenizer(path: Path) -> Any:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True)
    if not tokenizer.is_fast:
        raise ValueError(f"the tokenizer of {path} has no tokenizer.json (fast tokenizer)")
    return tokenizer


def refuse_architecture(config: Any) -> None:
    """ValueError if the model reads token ids anywhere but in its input embedding."""
    text = config.get_text_config()
    name = config.model_type
    if getattr(config, "is_encoder_decoder", False):
        raise ValueError(f"model type {name!r} is an encoder-decoder; only decoders are supported")
    fields = [field for field in _PER_LAYER_FIELDS if getattr(text, field, None)]
    if name.removesuffix("_text") in READS_IDS_ELSEWHERE or fields:
        detail = f" ({', '.join(fields)})" if fields else ""
        raise ValueError(f"model type {name!r} reads token ids inside its layers{detail}; a mixture has no token id")


def input_embedding(model: Any) -> tuple[Tensor, Tensor | None]:
    """The embedding table [V,D] and the factor the model applies to its rows (Gemma 3), checked on a few ids."""
    module = model.get_input_embeddings()
    table: Tensor = module.weight
    scale = getattr(module, "embed_scale", None)
    if scale is not None:
        scale = torch.as_tensor(scale, device=table.device).to(table.dtype)
    ids = torch.arange(min(4, table.shape[0]), device=table.device)
    rows = table[ids] if scale is None else table[ids] * scale
    if not torch.equal(module(ids), rows):
        raise ValueError(f"{type(module).__name__} does more than look rows up; its mixtures are not defined")
    return table, scale
