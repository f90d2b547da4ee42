"""The decode loop of a model in PyTorch, one batch of rows at a time.

    prompts --embed_prompts--> x --forward--> logits --sample--> token --mix--> Mixture --embed, scale--> x ...

Dims: B rows, T positions, D embedding width, V vocabulary.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from moi import Mixture, RowParams, embed, mix
from moi_engines.checkpoint import Checkpoint
from moi_engines.noise import drawn_uniforms
from moi_engines.protocol import TokenEvent
from moi_engines.request import SequenceState
from moi_engines.sampler import SamplingTensors, sample


class Settings(NamedTuple):
    """Per-row settings of a batch on the device."""

    sampling: SamplingTensors
    moi: RowParams

    def select(self, rows: Tensor) -> Settings:
        """Of these rows, int64 indices."""
        return Settings(self.sampling.select(rows), self.moi.select(rows))


class Place(NamedTuple):
    """Where the inputs of a step stand: positions int64 [B,T] and mask int64 [B,past+T], 1 where a token is.

    mask None: no row is padded. Attention then needs no mask of its own, which is faster on every device.
    """

    positions: Tensor
    mask: Tensor | None

    @classmethod
    def of(cls, lengths: list[int], device: torch.device) -> Place:
        """Of left-padded prompts."""
        longest = max(lengths)
        padding = torch.tensor([longest - length for length in lengths], device=device)[:, None]
        columns = torch.arange(longest, device=device)
        positions = (columns - padding).clamp_min(0)
        return cls(positions, (columns >= padding).long() if min(lengths) < longest else None)

    def advanced(self) -> Place:
        """Of the one input that follows."""
        mask = self.mask
        if mask is not None:
            mask = torch.cat([mask, mask.new_ones(len(mask), 1)], 1)
        return Place(self.positions[:, -1:] + 1, mask)

    def select(self, rows: Tensor) -> Place:
        """Of these rows, int64 indices."""
        return Place(self.positions[rows], None if self.mask is None else self.mask[rows])


class TorchLoop:
    """Decodes rows with a loaded model. Each stage is a method of its own, for a subclass to replace.

    implementation  of the op, as `moi.mix`
    mixing          False: plain decoding without the op, and nothing is said of entropy
    """

    def __init__(self, checkpoint: Checkpoint, *, implementation: str = "auto", mixing: bool = True) -> None:
        self.checkpoint, self.implementation, self.mixing = checkpoint, implementation, mixing
        self.device = checkpoint.table.device
        self._last_only = _last_only(checkpoint.model, self.device)

    def decode(self, rows: list[SequenceState]) -> Iterator[TokenEvent]:
        """Tokens of one batch until each row has its finish_reason."""
        from transformers import DynamicCache

        cache = DynamicCache(config=self.checkpoint.model.config)
        x, place = self.embed_prompts(rows)
        settings = self.settings(rows)
        while True:
            logits = self.forward(x, place, cache)
            token = self.sample(logits, rows, settings)
            mixture = self.mix(logits, token, rows, settings)
            entropy, intervention = mixture.entropy.tolist(), mixture.intervention.tolist()
            for row, *chosen in zip(rows, token.tolist(), entropy, intervention, strict=True):
                if row.finish_reason is None:
                    yield row.append_token(*chosen)
            alive = [i for i, row in enumerate(rows) if row.finish_reason is None]
            if not alive:
                return
            x = self.scale(embed(mixture, self.checkpoint.table, implementation=self.implementation))[:, None]
            place = place.advanced()
            if len(alive) <= len(rows) // 2:  # dropping rows copies the cache: only when it pays
                keep = torch.tensor(alive, device=self.device)
                cache.batch_select_indices(keep)
                x, place, settings = x[keep], place.select(keep), settings.select(keep)
                rows = [rows[i] for i in alive]

    def embed_prompts(self, rows: list[SequenceState]) -> tuple[Tensor, Place]:
        """Left-padded prompt embeddings [B,T,D], scaled, and their place."""
        longest = max(len(row.prompt) for row in rows)
        ids = torch.tensor([[0] * (longest - len(row.prompt)) + row.prompt for row in rows], device=self.device)
        place = Place.of([len(row.prompt) for row in rows], self.device)
        return self.scale(self.checkpoint.table[ids]), place

    @torch.inference_mode()
    def forward(self, x: Tensor, place: Place, cache: Any) -> Tensor:
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
    def sample(self, logits: Tensor, rows: list[SequenceState], settings: Settings) -> Tensor:
        """Token ids int64 [B] from logits [B,V] and each row's noise."""
        noise = torch.tensor([next(row.noise, 0.0) for row in rows], dtype=torch.float32, device=self.device)
        return sample(logits, settings.sampling, noise)

    @torch.inference_mode()
    def mix(self, logits: Tensor, token: Tensor, rows: list[SequenceState], settings: Settings) -> Mixture:
        """What is fed next, of tokens [B] drawn from logits [B,V]."""
        if not self.mixing:
            one = torch.ones(len(token), 1, device=self.device)
            return Mixture(token[:, None].int(), one, torch.zeros(len(token), device=self.device))
        given = settings.moi._replace(uniforms=drawn_uniforms(rows, self.device))._asdict()
        return mix(logits.float(), token, rows[0].moi, **given, implementation=self.implementation)

    def scale(self, x: Tensor) -> Tensor:
        """Embeddings [B,D] or [B,T,D] as the model takes them: times its factor, if it has one."""
        return x if self.checkpoint.scale is None else x * self.checkpoint.scale

    def settings(self, rows: list[SequenceState]) -> Settings:
        """Of a batch, on the device."""
        return Settings(
            SamplingTensors.of([row.sampling for row in rows], self.checkpoint.limits.vocab, self.device),
            RowParams.of([row.moi for row in rows], [row.sampling.temperature for row in rows], self.device),
        )


def _last_only(model: Any, device: torch.device) -> dict[str, Any]:
    """The argument by which a model computes the logits after its last inputs alone, {} where it has none.

    As an index, which copies those inputs: of a slice, a view, torch on a CPU copies the output layer for each row.
    """
    kept = inspect.signature(model.forward).parameters.get("logits_to_keep")
    if kept is None:
        return {}
    return {"logits_to_keep": torch.tensor([-1], device=device) if "Tensor" in str(kept.annotation) else 1}
