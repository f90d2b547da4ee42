"""What the hooks of a worker share: the tables of its request slots, and the requests that are in them.

Dims: R request slots, W words of a row as in `moi_serving.row_layout`.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable
from typing import Any

import numpy as np

from moi_serving.replay import RequestState, seed_of
from moi_serving.row_layout import token_of
from moi_serving.settings import ServerSettings
from moi_serving.slots import slots_of
from moi_serving.slots.base import Slots
from moi_serving.slots.tables import SlotSettings, Tables
from moi_vllm.embedding import Embedding
from moi_vllm.host import requests as params
from moi_vllm.host import worker as host
from moi_vllm.settings import asked, marks_sent
from moi_vllm.step import Step


class Runtime:
    """One per worker.

    settings   of the server
    embedding  the model's, which mixes
    slots      the tables and what is done with them; the slot after vLLM's own, `spare`, is no request's
    states     of the requests that mix or report, by their ids: kept while a request is preempted
    active     bool [R], the slots of such requests; may_stop, may_complete and replaying are those of them that
               stop mixing at some token, whose weights are completed with their token, and whose generated tokens are
               being prefilled again
    steps      sampled, and perhaps still on their way to the host
    """

    def __init__(self, settings: ServerSettings) -> None:
        self.settings = settings
        self.embedding: Embedding
        self.slots: Slots
        self.spare = 0
        self.states: dict[str, RequestState] = {}
        self.in_slot: list[RequestState | None] = []
        self.replaying: set[int] = set()
        self.may_stop: set[str] = set()
        self.may_complete: set[str] = set()
        self.steps: deque[Step] = deque()
        self._staged: dict[int, list[int]] = {}

    def start(self, state: Any, model: Any) -> None:
        """Once the model is loaded, before anything is captured. SystemExit where its embedding is not certain."""
        moi, count = self.settings.moi, host.slot_count(state)
        self.embedding = Embedding(model, host.vocab_size(state))
        self.spare, device = count, host.device(state)
        self.slots = slots_of(Tables.allocate(count + 1, moi.top_k, device), moi, self.embedding.mixer)
        self.active = np.zeros(count + 1, bool)
        self.prompt_length = [0] * (count + 1)
        self.in_slot = [None] * (count + 1)
        self.slots.warm_up(host.vocab_size(state), self.spare)

    def add_request(self, slot: int, new: Any) -> None:
        """A request that starts, or starts again after a preemption."""
        prompt, output = host.prompt_and_output(new)
        state = self._state(new, output)
        self.prompt_length[slot] = len(prompt)
        self.in_slot[slot], self.active[slot] = state, state is not None
        self.replaying.discard(slot)
        after = SlotSettings()
        if state is not None:
            after = state.settings_after(prompt, output)
            if output:
                self.replaying.add(slot)
            if state.marks.may_stop:
                self.may_stop.add(host.new_id(new))
            if state.settings.policy.completed:
                self.may_complete.add(host.new_id(new))
        self._staged[slot] = after.words()

    def apply_staged(self) -> None:
        """The settings of the slots that were given since, in one copy to the device."""
        if self._staged:
            at = np.fromiter(self._staged, np.int64, len(self._staged))
            words = np.array(list(self._staged.values()), np.int32)
            tables = self.slots.tables
            tables.configure(tables.upload(at), tables.upload(words))
            self._staged.clear()

    def drain(self, keep: int) -> None:
        """Give the rows of steps to their requests; the newest `keep` may still be computed."""
        while len(self.steps) > keep:
            self.steps.popleft().distribute()

    def forget(self, identities: Iterable[str]) -> None:
        """Requests that ended, not those that were preempted."""
        for identity in identities:
            if self.states.pop(identity, None) is not None:
                self.may_stop.discard(identity)
                self.may_complete.discard(identity)

    def _state(self, new: Any, output: list[int]) -> RequestState | None:
        """None of a request that neither mixes nor reports, and of one that cannot go on: the scheduler ends a
        request that mixes and brings no rows."""
        identity, sampling = host.new_id(new), host.new_sampling(new)
        if sampling is None:
            return None
        try:
            if output and identity in self.states:
                return self._resumed(identity, output)
            state = self._made(identity, sampling)
            if output and state is not None and state.settings.mixes:
                raise ValueError(f"{len(output)} tokens were generated elsewhere")
        except ValueError as error:
            logging.getLogger("vllm.moi").error("MoI: request %s cannot be mixed: %s", identity, error)
            self.states.pop(identity, None)
            return None
        if state is not None:
            self.states[identity] = state
        return state

    def _made(self, identity: str, sampling: Any) -> RequestState | None:
        extra = params.extra_args(sampling)
        settings = asked(extra, self.settings)
        if not settings.mixes and not settings.per_token:
            return None
        seed = seed_of(params.sampling_seed(sampling), identity)
        return RequestState(settings, marks_sent(extra, settings), seed)

    def _resumed(self, identity: str, output: list[int]) -> RequestState:
        """With the rows of the tokens that vLLM kept: some that were sampled may have been dropped since."""
        self.drain(keep=0)
        state = self.states[identity]
        state.truncate(len(output))
        rows = state.rows(0, len(output))
        if len(rows) != len(output) or (token_of(rows) != np.asarray(output)).any():
            raise ValueError(f"the mixtures of its {len(output)} tokens are not at hand")
        return state
