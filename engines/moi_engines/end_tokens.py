"""Which tokens end a text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

# They end a turn though no configuration says so; SGLang stops at them too.
_END_TEXTS = ("<|eom_id|>", "<|content_model_end_sampling|>", "<|ifm|im_end|>")


def end_ids(folder: Path, config: Any, tokenizer: Any) -> frozenset[int]:
    """All that config.json, generation_config.json and the tokenizer name, as SGLang joins them.

    Raises ValueError if generation_config.json cannot be read, or something else than ids is named.
    """
    added = tokenizer.get_added_vocab()
    named = [config, config.get_text_config(), _generation_config(folder), tokenizer]
    ids = {token_id for source in named for token_id in _listed(folder, getattr(source, "eos_token_id", None))}
    return frozenset(ids | {added[text] for text in _END_TEXTS if text in added})


def _listed(folder: Path, named: Any) -> list[int]:
    ids = [] if named is None else list(named) if isinstance(named, list | tuple) else [named]
    if not all(isinstance(token_id, int) and not isinstance(token_id, bool) for token_id in ids):
        raise ValueError(
            f"model folder {folder}: eos_token_id={named!r} is not allowed; it must be an id or a list of ids"
        )
    return ids


def _generation_config(folder: Path) -> Any:
    from transformers import GenerationConfig

    if not (folder / "generation_config.json").is_file():
        return None
    try:
        return GenerationConfig.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # whatever a broken file raises in the library that reads it
        raise ValueError(f"model folder {folder} cannot be read: {error}") from error
