"""The rows that one step sampled, on their way to the host.

Dims: B requests of the step, W words of a row as in `moi_serving.row_layout`.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from torch import Tensor

from moi_serving.replay import RequestState
from moi_serving.row_layout import Rows, entropy_of, interventions, is_due
from moi_serving.telemetry import TokenRecord

# Whose row of a step, by its place, it is: a request by its id, and how many tokens it had generated before.
Owner = tuple[int, str, RequestState, int]


class Step:
    """Rows int32 [B,W] on the device, and on the host once `event` has passed.

    under_way   the steps of the worker whose rows were not distributed yet: this one joins when it is copied
    """

    def __init__(self, under_way: deque[Step], device: Tensor, owners: list[Owner]) -> None:
        self._under_way = under_way
        self.device = device  # held until it is copied
        self.owners = owners
        self.host: Rows
        self.event: Any = None

    def copied_by(self, event: Any) -> None:
        """What is recorded behind the copy of the rows."""
        self.event = event
        self._under_way.append(self)

    def distribute(self) -> None:
        """Give each row to its request. Waits for the copy, which is long done for all but the newest step."""
        self.event.synchronize()
        for place, _, state, generated in self.owners:
            if len(state) > generated:  # of tokens that vLLM dropped and sampled anew
                state.truncate(generated)
            state.append(self.host, place)

    def records(self) -> dict[str, TokenRecord]:
        """What the response says of each token, by the request's id; once the rows are on the host."""
        entropy, intervention = entropy_of(self.host).tolist(), interventions(self.host).tolist()
        due = is_due(self.host).tolist()
        return {
            identity: (
                *(entropy[place], intervention[place], due[place]),
                *(state.replayed, state.drawn_seed, state.settings.per_token),
            )
            for place, identity, state, _ in self.owners
        }
