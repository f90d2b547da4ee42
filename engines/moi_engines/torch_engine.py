"""The reference engine: any Hugging Face decoder, decoded with the shared op in plain PyTorch.

A call is cut into batches; a batch is left-padded, prefilled once and decoded step by step:

    logits --sample--> token --mix--> Mixture --embed--> x --model--> logits
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from moi import Mixture, RowParams, embed, mix
from moi_engines.base import RowEngine
from moi_engines.checkpoint import load_checkpoint
from moi_engines.parity_types import Types
from moi_engines.protocol import TokenEvent
from moi_engines.registry import EngineSpec, SelfTest
from moi_engines.request import Row
from moi_engines.sampler import SamplingTensors, sample


class _Settings(NamedTuple):
    """Per-row settings of a batch on the device."""

    sampling: SamplingTensors
    moi: RowParams

    def select(self, rows: Tensor) -> _Settings:
        return _Settings(self.sampling.select(rows), self.moi.select(rows))


class _Place(NamedTuple):
    """Where the inputs of a step stand: positions int64 [B,T] and mask int64 [B,past+T], 1 where a token is.

    mask None: no row is padded. Attention then needs no mask of its own, which is faster on every device.
    """

    positions: Tensor
    mask: Tensor | None

    @classmethod
    def of(cls, lengths: list[int], device: torch.device) -> _Place:
        """Of left-padded prompts."""
        longest = max(lengths)
        padding = torch.tensor([longest - length for length in lengths], device=device)[:, None]
        columns = torch.arange(longest, device=device)
        positions = (columns - padding).clamp_min(0)
        return cls(positions, (columns >= padding).long() if min(lengths) < longest else None)

    def advanced(self) -> _Place:
        """Of the one input that follows."""
        mask = self.mask
        if mask is not None:
            mask = torch.cat([mask, mask.new_ones(len(mask), 1)], 1)
        return _Place(self.positions[:, -1:] + 1, mask)

    def select(self, rows: Tensor) -> _Place:
        return _Place(self.positions[rows], None if self.mask is None else self.mask[rows])


class TorchEngine(RowEngine):
    """Decodes with transformers. See `moi_engines.protocol.Engine`.

    model              folder, hub id or GGUF file
    revision           branch, tag or commit of a hub id
    device             "auto" takes a GPU if there is one
    dtype              "auto" is float32 on the CPU and bfloat16 on a GPU
    batch_size         rows decoded together
    implementation     of the op, as `moi.mix`
    trust_remote_code  run the Python that a model brings along
    mixing             False: plain decoding without the op, and nothing is said of entropy
    """

    name = "torch"

    def __init__(
        self,
        model: str | Path,
        *,
        revision: str | None = None,
        device: str = "auto",
        dtype: str = "auto",
        batch_size: int = 64,
        implementation: str = "auto",
        trust_remote_code: bool = False,
        mixing: bool = True,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size={batch_size} is not allowed; batch_size must be an integer >= 1")
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        self.device = torch.device(device)
        self.checkpoint = load_checkpoint(
            model,
            self.device,
            _dtype(dtype, self.device),
            revision=revision,
            trust_remote_code=trust_remote_code,
        )
        self.tokenizer, self.limits = self.checkpoint.tokenizer, self.checkpoint.limits
        self.batch_size = batch_size
        self.implementation = implementation
        self.mixing = mixing
        parameters = inspect.signature(self.checkpoint.model.forward).parameters
        self._last_only = {"logits_to_keep": 1} if "logits_to_keep" in parameters else {}

    def plain(self) -> TorchEngine:
        """The same weights in the same loop, without the op."""
        other = copy.copy(self)
        other.mixing = False
        return other

    def _check(self, row: Row) -> None:
        if not self.mixing and row.moi.policy != "token":
            raise ValueError(f"policy={row.moi.policy!r} is not allowed; this engine decodes plainly: use 'token'")

    def _decode_batch(self, rows: list[Row]) -> Iterator[TokenEvent]:
        from transformers import DynamicCache

        cache = DynamicCache(config=self.checkpoint.model.config)
        x, place = self._embed_prompts(rows)
        settings = self._settings(rows)
        while True:
            logits = self._forward(x, place, cache)
            token, mixture = self._choose(logits, rows, settings)
            entropy, intervention = mixture.entropy.tolist(), mixture.intervention.tolist()
            for row, *chosen in zip(rows, token.tolist(), entropy, intervention, strict=True):
                if row.finish_reason is None:
                    yield row.push(*chosen)
            alive = [i for i, row in enumerate(rows) if row.finish_reason is None]
            if not alive:
                return
            x = self._scaled(embed(mixture, self.checkpoint.table, implementation=self.implementation))[:, None]
            place = place.advanced()
            if len(alive) <= len(rows) // 2:  # dropping rows copies the cache: only when it pays
                keep = torch.tensor(alive, device=self.device)
                cache.batch_select_indices(keep)
                x, place, settings = x[keep], place.select(keep), settings.select(keep)
                rows = [rows[i] for i in alive]

    @torch.inference_mode()
    def _forward(self, x: Tensor, place: _Place, cache: Any) -> Tensor:
        """Logits [B,V], float32 or the model's float64, after the last of the inputs x [B,T,D]."""
        out = self.checkpoint.model(
            inputs_embeds=x,
            attention_mask=place.mask,
            position_ids=place.positions,
            past_key_values=cache,
            use_cache=True,
            **self._last_only,
        )
        logits: Tensor = out.logits[:, -1]
        return logits.to(torch.promote_types(logits.dtype, torch.float32))

    @torch.inference_mode()
    def _choose(self, logits: Tensor, rows: list[Row], settings: _Settings) -> tuple[Tensor, Mixture]:
        token = self._sample(logits, rows, settings)
        if not self.mixing:
            one = torch.ones(len(token), 1, device=self.device)
            return token, Mixture(token[:, None].int(), one, torch.zeros(len(token), device=self.device))
        mixture = mix(
            logits.float(),
            token,
            rows[0].moi,
            **settings.moi._asdict(),
            implementation=self.implementation,
        )
        return token, mixture

    def _sample(self, logits: Tensor, rows: list[Row], settings: _Settings) -> Tensor:
        """Token ids int64 [B]; `moi_engines.parity_reference` follows given ones here instead."""
        noise = torch.tensor([next(row.noise, 0.0) for row in rows], dtype=torch.float32, device=self.device)
        return sample(logits, settings.sampling, noise)

    def _embed_prompts(self, rows: list[Row]) -> tuple[Tensor, _Place]:
        """Left-padded prompt embeddings [B,T,D] and their place."""
        longest = max(len(row.prompt) for row in rows)
        ids = torch.tensor([[0] * (longest - len(row.prompt)) + row.prompt for row in rows], device=self.device)
        place = _Place.of([len(row.prompt) for row in rows], self.device)
        return self._scaled(self.checkpoint.table[ids]), place

    def _scaled(self, x: Tensor) -> Tensor:
        return x if self.checkpoint.scale is None else x * self.checkpoint.scale

    def _settings(self, rows: list[Row]) -> _Settings:
        return _Settings(
            SamplingTensors.of([row.sampling for row in rows], self.limits.vocab, self.device),
            RowParams.of([row.moi for row in rows], [row.sampling.temperature for row in rows], self.device),
        )


def _dtype(name: str, device: torch.device) -> torch.dtype:
    names = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
    if name == "auto":
        return torch.float32 if device.type == "cpu" else torch.bfloat16
    if name not in names:
        raise ValueError(f"dtype={name!r} is unknown; allowed: auto, {', '.join(names)}")
    return names[name]


def _types(model: Path) -> Types:
    """Of dtype "auto"."""
    return Types("bfloat16", "bfloat16") if torch.cuda.is_available() else Types()


SPEC = EngineSpec(
    "torch",
    TorchEngine,
    modules=("transformers", "tokenizers", "rich"),
    extra="engine",
    library="transformers",
    tuned=lambda folder, workload: {"batch_size": workload.batch},
    types=_types,
    baseline="the same loop without the op",
    # The reference itself: the device and implementation that "auto" picks, rows one by one, float32 everywhere.
    selftest=SelfTest(options={"dtype": "float32", "batch_size": 1}, types=Types()),
)
