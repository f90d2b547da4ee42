"""What the hooks of a scheduler process share."""

from __future__ import annotations

from typing import Any

import torch

from moi_serving.embedding import Mixer
from moi_serving.metrics import Metrics
from moi_serving.row_layout import ids_of, weights_of
from moi_serving.settings import ServerSettings
from moi_serving.slots import slots_of
from moi_serving.slots.base import Slots
from moi_serving.slots.tables import Tables
from moi_sglang.batch_metadata import UNKNOWN
from moi_sglang.compatibility import refuse_embedding_lora


class Runtime:
    """One per scheduler process.

    settings  from the flags
    metrics   told of what happens
    runner    the ModelRunner whose model mixes; draft models have their own
    mixer     ids and weights [B,S] to inputs [B,D], as that model embeds
    slots     the tables and what is done with them, made with its memory pool
    batch     the ForwardBatch in its forward pass, and what is known of it
    active    ids of running requests that mix or report; without any, the hooks do nothing
    may_stop  those of them that stop mixing at some token
    """

    def __init__(self, settings: ServerSettings, metrics: Metrics) -> None:
        self.settings = settings
        self.metrics = metrics
        self.runner: Any = None
        self.mixer: Mixer | None = None
        self.batch: Any = None
        self.metadata = UNKNOWN
        self.active: set[str] = set()
        self.may_stop: set[str] = set()
        self._slots: Slots | None = None

    def activate(self, request: str, may_stop: bool) -> None:
        self.active.add(request)
        if may_stop:
            self.may_stop.add(request)

    def forget(self, request: str) -> None:
        self.active.discard(request)
        self.may_stop.discard(request)

    def owns(self, runner: Any) -> bool:
        return runner is self.runner and self.ready

    @property
    def slots(self) -> Slots:
        assert self._slots is not None, "a batch ran before the memory pool was allocated"
        return self._slots

    @property
    def ready(self) -> bool:
        return self._slots is not None

    def collector_made(self, result: Any, scheduler: Any) -> None:
        """AFTER Scheduler.init_metrics_collector."""
        context = scheduler.metrics_collector_context
        if context.enable_metrics and context.collector is not None and context.is_stats_logging_rank:
            self.metrics.enable(context.collector.labels)

    def pool_allocated(self, result: Any, runner: Any, *args: Any, **kwargs: Any) -> None:
        """AFTER ModelRunner.alloc_memory_pool: before any graph is captured."""
        if runner is self.runner:
            refuse_embedding_lora(runner)
            assert self.mixer is not None, "the memory pool was allocated before the model was loaded"
            moi, count = self.settings.moi, runner.req_to_token_pool.req_to_token.shape[0]
            self._slots = slots_of(Tables.allocate(count, moi.top_k, runner.device), moi, self.mixer)
            self._warm_up(runner)

    @torch.inference_mode()
    def _warm_up(self, runner: Any) -> None:
        """Plain rows through all kernels: compiled before the server is ready, not in its first request."""
        logits = torch.zeros(2, runner.model_config.vocab_size, device=runner.device)
        padding = torch.zeros(2, dtype=torch.int64, device=runner.device)  # slot 0, which is no request's
        pending = self.slots.compute(padding, logits, torch.ones(2, device=runner.device))
        for may_stop in (False, True):
            for integers in (torch.int64, torch.int32):  # greedy tokens, sampled ones
                rows = self.slots.store(padding, pending, padding.to(integers), padding, may_stop)
        x = self.slots.mixer(ids_of(rows), weights_of(rows))
        self.slots.apply(x, padding, padding, padding)
