"""Write a trained model as a Hugging Face folder that current and older readers open."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from moi_eval.countdown import tokenizer

if TYPE_CHECKING:
    from transformers import Qwen3ForCausalLM

# Enough for twelve failed attempts over three numbers, the one that succeeds, and the answer.
MAX_NEW_TOKENS = 170


def save(model: Qwen3ForCausalLM, folder: Path) -> None:
    """Write weights (the model is rounded to bfloat16), configuration and tokenizer; the folder is made if need be."""
    from transformers import GenerationConfig

    model.generation_config = GenerationConfig(
        do_sample=True,
        max_new_tokens=MAX_NEW_TOKENS,
        eos_token_id=model.config.eos_token_id,
        pad_token_id=model.config.pad_token_id,
    )
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.build().save_pretrained(folder)
    # names that transformers 4 and the readers built on it look for
    _update_json(folder / "config.json", torch_dtype="bfloat16", rope_theta=model.config.rope_parameters["rope_theta"])
    _update_json(folder / "tokenizer_config.json", tokenizer_class="PreTrainedTokenizerFast")
    for path in folder.glob("*.safetensors"):
        path.chmod(0o644)  # it is written for its owner only, and would be packaged so


def _update_json(path: Path, **values: Any) -> None:
    content = json.loads(path.read_text(encoding="utf-8")) | values
    path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
