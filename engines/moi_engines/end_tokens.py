"""Which tokens end a text."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

# They end a turn though no configuration says so; SGLang stops at them too.
_END_TEXTS = ("<|eom_id|>", "<|content_model_end_sampling|>", "<|ifm|im_end|>")


def end_ids(folder: Path, config: Any, tokenizer: Any) -> frozenset[int]:
    """All that config.json, generation_config.json and the tokenizer name, as SGLang joins them.

    Raises ValueError if generation_config.json cannot be read.
    """
    added = tokenizer.get_added_vocab()
    named = [config, config.get_text_config(), _generation_config(folder), tokenizer]
    ids = {token_id for source in named for token_id in _listed(getattr(source, "eos_token_id", None))}
    return frozenset(ids | {added[text] for text in _END_TEXTS if text in added})


def _listed(ids: int | Iterable[int] | None) -> Iterable[int]:
    return [] if ids is None else [ids] if isinstance(ids, int) else ids


def _generation_config(folder: Path) -> Any:
    from transformers import GenerationConfig

    if not (folder / "generation_config.json").is_file():
        return None
    try:
        return GenerationConfig.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # whatever a broken file raises in the library that reads it
        raise ValueError(f"model folder {folder} cannot be read: {error}") from error
