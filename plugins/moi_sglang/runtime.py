"""What the hooks of a scheduler process share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from moi import Mixture
from moi_sglang.leave import leave
from moi_sglang.metrics import Metrics
from moi_sglang.note import UNKNOWN
from moi_sglang.refuse import refuse_embedding_lora
from moi_sglang.settings import ServerSettings
from moi_sglang.tables import Tables

Mixed = Callable[[Tensor, Tensor], Tensor]


class Runtime:
    """One per scheduler process.

    settings  from the flags
    metrics   told of what happens
    runner    the ModelRunner whose model mixes; draft models have their own
    mixed     ids and weights [B,S] to inputs [B,D], as that model embeds
    tables    allocated with its memory pool
    batch     the ForwardBatch in its forward pass, and the note of what is known of it
    watched   ids of running requests that mix or report; without any, the hooks do nothing
    gated     those of them that stop mixing at some token
    """

    def __init__(self, settings: ServerSettings, metrics: Metrics) -> None:
        self.settings = settings
        self.metrics = metrics
        self.runner: Any = None
        self.mixed: Mixed | None = None
        self.batch: Any = None
        self.note = UNKNOWN
        self.watched: set[str] = set()
        self.gated: set[str] = set()
        self._tables: Tables | None = None

    def watch(self, request: str, gated: bool) -> None:
        self.watched.add(request)
        if gated:
            self.gated.add(request)

    def forget(self, request: str) -> None:
        self.watched.discard(request)
        self.gated.discard(request)

    def owns(self, runner: Any) -> bool:
        return runner is self.runner and self._tables is not None

    @property
    def tables(self) -> Tables:
        assert self._tables is not None, "the embedding ran before the memory pool was allocated"
        return self._tables

    @property
    def ready(self) -> bool:
        return self._tables is not None

    def mixtures_of(self, logits: Tensor, token: Tensor, beta: Tensor, temperature: Tensor, policy: Tensor) -> Any:
        """(ids, weights, entropy) of moi::mix as the server is set."""
        moi = self.settings.moi
        return torch.ops.moi.mix(
            *(logits, token, beta, temperature, policy), *(moi.top_k, moi.entropy, moi.prior, "auto")
        )

    def pool_allocated(self, result: Any, runner: Any, *args: Any, **kwargs: Any) -> None:
        """AFTER ModelRunner.alloc_memory_pool: before any graph is captured."""
        if runner is self.runner:
            refuse_embedding_lora(runner)
            slots = runner.req_to_token_pool.req_to_token.shape[0]
            self._tables = Tables.allocate(slots, self.settings.moi.top_k, runner.device)
            self._warm_up(runner)

    @torch.inference_mode()
    def _warm_up(self, runner: Any) -> None:
        """One plain row through all kernels: compiled before the server is ready, not in its first request."""
        logits = torch.zeros(1, runner.model_config.vocab_size, device=runner.device)
        slot = torch.zeros(1, dtype=torch.int64, device=runner.device)
        settings = self.tables.beta[:1], torch.ones(1, device=runner.device), self.tables.policy[:1]
        mixture = Mixture(*self.mixtures_of(logits, slot, *settings))
        for gated in (False, True):
            leave(self.tables, slot, self.tables.policy[:1], mixture, slot, slot, gated)
        assert self.mixed is not None, "the memory pool was allocated before the model was loaded"
        self.mixed(mixture.ids, mixture.weights)
