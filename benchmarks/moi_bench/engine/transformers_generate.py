"""What people would run without this project: transformers' own `generate`, the engines' yardstick on real models."""

from __future__ import annotations

import time
from typing import Any

import torch

from moi_engines import SamplingParams


class TransformersGenerate:
    """`generate` of a loaded model, with the engines' prompts and settings; it draws its own random numbers."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def run(self, prompts: list[list[int]], sampling: SamplingParams) -> dict[str, float]:
        """Output tokens/s of prompts of one length; `sampling` must ignore the end of the text."""
        ids = torch.tensor(prompts, device=self._model.device)
        settings = _settings(sampling)
        torch.manual_seed(sampling.seed)
        start = time.perf_counter()
        out = self._model.generate(ids, attention_mask=torch.ones_like(ids), **settings)
        made = out[:, ids.shape[1] :].tolist()  # waits for a GPU
        seconds = time.perf_counter() - start
        lengths = {len(row) for row in made}
        if lengths != {sampling.max_new_tokens}:
            raise RuntimeError(f"generate made {lengths} tokens per row; {sampling.max_new_tokens} were asked for")
        return {"tokens_per_s": len(made) * sampling.max_new_tokens / seconds}


def _settings(sampling: SamplingParams) -> dict[str, Any]:
    """Arguments of `generate`: nothing is left to the model's own generation settings."""
    length = {"max_new_tokens": sampling.max_new_tokens, "min_new_tokens": sampling.max_new_tokens, "pad_token_id": 0}
    if sampling.temperature == 0:
        return {**length, "do_sample": False}
    chosen = {"temperature": sampling.temperature, "top_k": sampling.top_k, "top_p": sampling.top_p}
    return {**length, "do_sample": True, **chosen, "min_p": sampling.min_p or None}
