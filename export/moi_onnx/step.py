"""One decode step as a torch module: mixtures in, the next mixtures out. Prefill is the same step.

    mix_ids, mix_weights --MixEmbed--> x --layers--> logits --sample--> token --MixInputs--> next mixture

Dims: B rows, T positions, S slots (open: a prompt has one slot of weight 1), V vocabulary, C candidates.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from moi import Mixture, RowParams
from moi_onnx.architectures import layer_kinds, masks_as_taken, output_logits
from moi_onnx.caches import ConcatCache, Pair, StaticCache, present_columns, visible
from moi_onnx.functions import PLUGIN, mix_attributes
from moi_onnx.options import ExportOptions
from moi_onnx.sampling import SampleToken

SETTINGS = ("noise", "temperature", "top_k", "top_p", "min_p", "policy", "parameters", "uniforms")
RESULTS = ("token", "decided", "next_mix_ids", "next_mix_weights", "entropy", "intervention", "logits")


class Step(nn.Module):
    """What both variants share; `scale` multiplies looked-up rows (Gemma 3)."""

    def __init__(self, model: Any, scale: Tensor | None, options: ExportOptions) -> None:
        super().__init__()
        self.model, self.scale, self.options = model, scale, options
        self.vocab = model.get_input_embeddings().weight.shape[0]
        self.sampler = SampleToken(self.vocab, min(options.candidates, self.vocab))
        kinds = set(layer_kinds(model.config))
        self.windows = {kind: model.config.sliding_window if "sliding" in kind else None for kind in sorted(kinds)}

    def embed(self, mix_ids: Tensor, mix_weights: Tensor) -> Tensor:
        """x [B,T,D] of the mixtures [B,T,S]."""
        table = self.model.get_input_embeddings().weight
        x = torch.onnx.ops.symbolic(
            "moi::MixEmbed",
            (mix_ids, mix_weights, table),
            PLUGIN,
            dtype=table.dtype,
            shape=(*mix_ids.shape[:2], table.shape[1]),
            version=1,
        )
        return x if self.scale is None else x * self.scale

    def layers(self, x: Tensor, masks: dict[str, Tensor], positions: Tensor, cache: Any) -> Tensor:
        """Last hidden states [B,T,D] of inputs x [B,T,D]; masks by kind of layer, positions int64 [B,T]."""
        out = self.model.model(
            inputs_embeds=x,
            attention_mask=masks_as_taken(self.model.config, masks),
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
        )
        hidden: Tensor = out.last_hidden_state
        return hidden

    def choose(self, hidden: Tensor, settings: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """RESULTS from the last hidden states [B,D] and SETTINGS: [B], parameters [B,P], uniforms [B,8+K]."""
        noise, temperature, top_k, top_p, min_p, policy, parameters, uniforms = settings
        logits = output_logits(self.model, hidden)
        token, decided = self.sampler(logits, noise, temperature, top_k, top_p, min_p)
        mixture = self._mix(logits, token, RowParams(policy, parameters, temperature, uniforms))
        ids, weights = mixture.ids[:, None, :], mixture.weights[:, None, :]
        return token, decided, ids, weights, mixture.entropy, mixture.intervention, logits

    def _mix(self, logits: Tensor, token: Tensor, settings: RowParams) -> Mixture:
        rows = logits.shape[0]
        if not self.options.mixing:
            # The inputs stay, whatever the graph makes of them.
            rest = settings.policy if settings.uniforms is None else settings.policy + settings.uniforms[:, 0]
            zero = (settings.temperature + settings.parameters[:, 0] + rest) * 0
            return Mixture(token[:, None].int(), torch.ones_like(zero)[:, None], zero)
        slots = self.options.moi.top_k + 1
        ids, weights, entropy = torch.onnx.ops.symbolic_multi_out(
            "moi::MixInputs",
            (logits, token, *settings),
            mix_attributes(self.options.moi),
            dtypes=(torch.int32, torch.float32, torch.float32),
            shapes=((rows, slots), (rows, slots), (rows,)),
            version=1,
        )
        return Mixture(ids, weights, entropy)


class StaticStep(Step):
    """write_indices int64 [B]: first position of this call; last_index int64 [B]: of the T, the row's last."""

    inputs = ("mix_ids", "mix_weights", "write_indices", "last_index")

    def forward(
        self,
        mix_ids: Tensor,
        mix_weights: Tensor,
        write_indices: Tensor,
        last_index: Tensor,
        past: list[Pair],
        *settings: Tensor,
    ) -> tuple[Any, ...]:
        """RESULTS and the caches, of T inputs written from `write_indices` on; past: [B,H,max_length,width]."""
        columns = torch.arange(past[0][0].shape[2])
        positions = write_indices[:, None] + torch.arange(mix_ids.shape[1])
        masks = {kind: visible(columns, positions, window) for kind, window in self.windows.items()}
        cache = StaticCache(past, write_indices)
        hidden = self.layers(self.embed(mix_ids, mix_weights), masks, positions, cache)
        at = last_index[:, None, None].expand(-1, 1, hidden.shape[-1])
        return (*self.choose(hidden.gather(1, at)[:, 0], settings), cache.present)


class ConcatStep(Step):
    """attention_mask int64 [B,P+T]: 1 where a token is; position_ids int64 [B,T]."""

    inputs = ("mix_ids", "mix_weights", "attention_mask", "position_ids")

    def forward(
        self,
        mix_ids: Tensor,
        mix_weights: Tensor,
        attention_mask: Tensor,
        position_ids: Tensor,
        past: list[Pair],
        *settings: Tensor,
    ) -> tuple[Any, ...]:
        """RESULTS and the grown caches; past: [B,H,P,width]."""
        length = mix_ids.shape[1]
        columns = torch.arange(past[0][0].shape[2] + length)
        queries = (past[0][0].shape[2] + torch.arange(length))[None, :]
        masks = {
            kind: present_columns(visible(columns, queries, window), attention_mask, columns, queries)
            for kind, window in self.windows.items()
        }
        cache = ConcatCache(past)
        hidden = self.layers(self.embed(mix_ids, mix_weights), masks, position_ids, cache)
        return (*self.choose(hidden[:, -1], settings), cache.present)
