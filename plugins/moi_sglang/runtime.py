"""What the hooks of a scheduler process share, and what they know of each batch."""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import Tensor

from moi_serving.embedding import Mixer
from moi_serving.metrics import Metrics
from moi_serving.replay import RequestState
from moi_serving.settings import ServerSettings
from moi_serving.slots import slots_of
from moi_serving.slots.base import Slots
from moi_serving.slots.tables import Tables
from moi_sglang.host import model, server


class Replay(NamedTuple):
    """Mixtures of tokens that are prefilled again: their places [n] in the batch's inputs, their rows [n,W]."""

    at: Tensor
    rows: Tensor


class BatchMetadata(NamedTuple):
    """Of a batch, kept on its ForwardBatch as `moi_metadata`. active: some row may mix."""

    active: bool
    replay: Replay | None = None


UNKNOWN = BatchMetadata(active=True)  # a batch without metadata, as in graph capture, may hold anything


def metadata_of(forward_batch: Any, otherwise: BatchMetadata = UNKNOWN) -> BatchMetadata:
    """Of a batch; `otherwise` where nobody attached any, as to a copy that a runner made."""
    metadata: BatchMetadata = getattr(forward_batch, "moi_metadata", otherwise)
    return metadata


class Runtime:
    """One per scheduler process.

    settings  from the flags
    metrics   told of what happens
    runner    the ModelRunner whose model mixes, once it has a memory pool; draft models have their own
    slots     the tables and what is done with them, from then on
    batch     the ForwardBatch in its forward pass, and what is known of it
    active    ids of running requests that mix or report; without any, the hooks do nothing
    may_stop  those of them that stop mixing at some token
    may_complete  those of them whose weights are completed with the token (`moi.Policy.completed`)
    """

    def __init__(self, settings: ServerSettings, metrics: Metrics) -> None:
        self.settings = settings
        self.metrics = metrics
        self.runner: Any = None
        self.slots: Slots
        self.batch: Any = None
        self.metadata = UNKNOWN
        self.active: set[str] = set()
        self.may_stop: set[str] = set()
        self.may_complete: set[str] = set()

    def start(self, runner: Any, mixer: Mixer) -> None:
        """Once the memory pool is allocated, before any graph is captured."""
        tables = Tables.allocate(model.slot_count(runner), self.settings.moi.top_k, model.device(runner))
        self.slots = slots_of(tables, self.settings.moi, mixer)
        self.slots.warm_up(model.vocab_size(runner))  # slot 0 is no request's
        self.runner = runner

    def activate(self, request: str, state: RequestState) -> None:
        """A request by its id, from its prefill on."""
        self.active.add(request)
        if state.marks.may_stop:
            self.may_stop.add(request)
        if state.settings.policy.completed:
            self.may_complete.add(request)

    def forget(self, request: str) -> None:
        """A request that ended, or was retracted."""
        self.active.discard(request)
        self.may_stop.discard(request)
        self.may_complete.discard(request)

    def collector_made(self, result: Any, scheduler: Any, *args: Any, **kwargs: Any) -> None:
        """AFTER the scheduler made its counters."""
        self.metrics.enable(server.scheduler_labels(scheduler))
