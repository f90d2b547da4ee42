"""From the sampled rows on the device to `meta_info["moi"]` of the response.

forward stream: rows [B,W] --SGLang's asynchronous copy--> scheduler: kept per request
--SGLang's customized_info--> tokenizer process: a summary per request
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from torch import Tensor

from moi_serving.metrics import Metrics
from moi_serving.replay import state_of
from moi_serving.row_layout import NOT_DUE, POSITION, TOKEN, token_of
from moi_serving.settings import KEY
from moi_serving.telemetry import Summary
from moi_sglang.host.batches import committed, requests


class Telemetry(NamedTuple):
    """SGLang's DeviceAuxiliaryOutput and, on the host, its HostAuxiliaryOutput."""

    rows: Tensor
    metrics: Metrics

    def copy_to_host(self, copy: Callable[[Tensor], Tensor]) -> Telemetry:
        """By SGLang's asynchronous copy."""
        return self._replace(rows=copy(self.rows))

    def consume(self, batch: Any, commits: Sequence[Any]) -> None:
        """Keep the row of each committed token with its request: after the commit, before they are streamed."""
        rows = self.rows.numpy()
        sampled, kept = token_of(rows).tolist(), []
        for index, (req, commit) in enumerate(zip(requests(batch), commits, strict=True)):
            state = state_of(req)
            if commit is None or state is None:
                continue
            token = committed(commit)[0]
            if sampled[index] != token:  # another part of SGLang replaced the sampled token: it is fed plainly
                rows[index, TOKEN], rows[index, POSITION] = token, NOT_DUE
            state.append(rows, index)
            kept.append(index)
        self.metrics.generated(rows, kept)


def response_grows(
    original: Any, manager: Any, meta_info: Any, state: Any, customized_info: Any, index: int, *args: Any, **kwargs: Any
) -> None:
    """AROUND the update of a response's meta_info: records become one summary; plain requests get none."""
    others = {key: values for key, values in customized_info.items() if key != KEY}
    original(manager, meta_info, state, others, index, *args, **kwargs)
    records = [record for record in customized_info.get(KEY, {index: ()})[index] if record is not None]
    summary = getattr(state, "moi_summary", None)
    if records:
        if summary is None:
            summary = state.moi_summary = Summary()
        summary.add(records)
    if summary is not None:
        meta_info[KEY] = summary.to_dict()
