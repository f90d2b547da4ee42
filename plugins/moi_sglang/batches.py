"""The batch that is being computed: which one it is, its slots' settings and the mixtures to replay in it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from moi_serving.replay import again, state_of
from moi_serving.slots.tables import SlotSettings
from moi_sglang.host import batches as host
from moi_sglang.host.requests import output_ids, prompt_ids, request_id
from moi_sglang.runtime import UNKNOWN, BatchMetadata, Replay, Runtime, metadata_of


class Batches:
    """Hooks that follow ForwardBatches from their making to the forward pass."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def made(self, forward_batch: Any, cls: Any, batch: Any, model_runner: Any, *args: Any, **kwargs: Any) -> None:
        """AFTER a batch is made, on the forward stream."""
        runtime = self._runtime
        if model_runner is runtime.runner:
            replay = self._prefill(forward_batch, batch) if host.is_prefill(batch) else None
            if (beams := host.beam_slots(forward_batch, batch)) is not None:  # nobody configures or samples them
                runtime.slots.tables.forget(beams)
            forward_batch.moi_metadata = BatchMetadata(bool(runtime.active), replay)

    @contextlib.contextmanager
    def context(
        self, original: Callable[..., Any], *args: Any, forward_batch: Any = None, **kwargs: Any
    ) -> Iterator[None]:
        """AROUND the context of a forward pass: the embedding finds its batch here. Calls nest."""
        runtime = self._runtime
        outer = runtime.batch, runtime.metadata
        if forward_batch is not None:
            # Runners compute a copy inside the original's context: it has no metadata of its own.
            inherited = UNKNOWN if runtime.batch is None else runtime.metadata
            runtime.batch, runtime.metadata = forward_batch, metadata_of(forward_batch, inherited)
        try:
            with original(*args, forward_batch=forward_batch, **kwargs):
                yield
        finally:
            runtime.batch, runtime.metadata = outer

    def prefill_graph(
        self, original: Callable[..., bool], runner: Any, forward_batch: Any, *args: Any, **kwargs: Any
    ) -> bool:
        """AROUND the question whether a graph can run a prefill: replayed rows differ from batch to batch."""
        return metadata_of(forward_batch).replay is None and original(runner, forward_batch, *args, **kwargs)

    def _prefill(self, forward_batch: Any, batch: Any) -> Replay | None:
        """Settings of every slot that (re)starts here; what to replay of requests that were retracted."""
        tables, settings, at, rows, base = self._runtime.slots.tables, [], [], [], 0
        for req, start, length in host.prefilled(batch):
            state, after = state_of(req), SlotSettings()
            if state is not None:
                self._runtime.activate(request_id(req), state)
                after = state.settings_after(prompt_ids(req), output_ids(req))
                places, found = again(state, start - len(prompt_ids(req)), length)
                at.append(places + base)
                rows.append(found)
            settings.append(after.words())
            base += length
        tables.configure(host.slots(forward_batch).long(), tables.upload(np.array(settings, np.int32)))
        if not (count := sum(map(len, at))):
            return None
        self._runtime.metrics.count("replayed_tokens", count)
        return Replay(tables.upload(np.concatenate(at)), tables.upload(np.concatenate(rows)))
