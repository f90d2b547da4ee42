"""What the hooks of a scheduler process share."""

from __future__ import annotations

from typing import Any

from moi_serving.embedding import Mixer
from moi_serving.metrics import Metrics
from moi_serving.replay import RequestState
from moi_serving.settings import ServerSettings
from moi_serving.slots import slots_of
from moi_serving.slots.base import Slots
from moi_serving.slots.tables import Tables
from moi_serving.slots.warm_up import warm_up
from moi_sglang.batch_metadata import UNKNOWN
from moi_sglang.compatibility import refuse_embedding_lora
from moi_sglang.host import model, server


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
    may_complete  those of them whose weights are completed with the token (`RequestSettings.completed`)
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
        self.may_complete: set[str] = set()
        self._slots: Slots | None = None

    def activate(self, request: str, state: RequestState) -> None:
        """A request by its id, from its prefill on."""
        self.active.add(request)
        if state.marks.may_stop:
            self.may_stop.add(request)
        if state.settings.completed:
            self.may_complete.add(request)

    def forget(self, request: str) -> None:
        """A request that ended, or was retracted."""
        self.active.discard(request)
        self.may_stop.discard(request)
        self.may_complete.discard(request)

    def owns(self, runner: Any) -> bool:
        """Whether this runner's batches mix."""
        return runner is self.runner and self.ready

    @property
    def slots(self) -> Slots:
        """Only after the memory pool was allocated."""
        assert self._slots is not None, "a batch ran before the memory pool was allocated"
        return self._slots

    @property
    def ready(self) -> bool:
        """Whether there are slots."""
        return self._slots is not None

    def collector_made(self, result: Any, scheduler: Any, *args: Any, **kwargs: Any) -> None:
        """AFTER the scheduler made its counters."""
        if (labels := server.scheduler_labels(scheduler)) is not None:
            self.metrics.enable(labels)

    def pool_allocated(self, result: Any, runner: Any, *args: Any, **kwargs: Any) -> None:
        """AFTER the memory pool is allocated, before any graph is captured. SystemExit for LoRA on the embedding."""
        if runner is self.runner:
            refuse_embedding_lora(model.adapted_modules(runner))
            assert self.mixer is not None, "the memory pool was allocated before the model was loaded"
            moi, device = self.settings.moi, model.device(runner)
            tables = Tables.allocate(model.slot_count(runner), moi.top_k, device)
            self._slots = slots_of(tables, moi, self.mixer)
            warm_up(self._slots, model.vocab_size(runner), device)  # slot 0 is no request's
