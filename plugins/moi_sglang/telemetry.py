"""From the sampled rows on the device to `meta_info["moi"]` of the response.

forward stream: rows [B,W] --SGLang's asynchronous copy--> scheduler: kept per request
--SGLang's customized_info--> tokenizer process: a summary per request
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from torch import Tensor

from moi_serving.metrics import Metrics
from moi_serving.replay import state_of
from moi_serving.row_layout import NOT_DUE, POSITION, TOKEN, token_of
from moi_serving.settings import KEY, ServerSettings, request_settings
from moi_sglang.host.batches import committed, requests
from moi_sglang.host.requests import asked_params


class DeviceRecords(NamedTuple):
    """SGLang's DeviceAuxiliaryOutput."""

    rows: Tensor
    metrics: Metrics

    def copy_to_host(self, copy: Callable[[Tensor], Tensor]) -> HostRecords:
        return HostRecords(copy(self.rows), self.metrics)


class HostRecords(NamedTuple):
    """SGLang's HostAuxiliaryOutput: consumed after the tokens were committed, before they are streamed."""

    rows: Tensor
    metrics: Metrics

    def consume(self, batch: Any, commits: Sequence[Any]) -> None:
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


class Summary:
    """Running numbers of one request in the tokenizer process."""

    def __init__(self, per_token: bool) -> None:
        self._entropy = self._intervention = 0.0
        self._count = self._due = self._replayed = 0
        self._last_due = False
        self._lists: dict[str, list[float]] | None = {"entropy": [], "intervention": []} if per_token else None

    def add(self, records: Iterable[Sequence[Any]]) -> None:
        for entropy, intervention, due, replayed in records:
            self._count += 1
            self._entropy += entropy
            self._intervention += intervention
            self._due += due
            self._last_due, self._replayed = due, replayed
            if self._lists is not None:
                self._lists["entropy"].append(entropy)
                self._lists["intervention"].append(intervention)

    def to_dict(self) -> dict[str, Any]:
        """The last token has not been fed back, so its mixture does not count as mixed."""
        return {
            "mean_entropy": self._entropy / self._count,
            "mean_intervention": self._intervention / self._count,
            "mixed_tokens": self._due - self._last_due,
            "replayed_tokens": self._replayed,
        } | {key: list(values) for key, values in (self._lists or {}).items()}


class MetaInfo:
    """The hook of the tokenizer process."""

    def __init__(self, settings: ServerSettings) -> None:
        self._settings = settings

    def update(
        self,
        original: Any,
        manager: Any,
        meta_info: Any,
        state: Any,
        customized_info: Any,
        index: int,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        """AROUND the update of a response's meta_info: records become one summary; plain requests get none."""
        others = {key: values for key, values in customized_info.items() if key != KEY}
        original(manager, meta_info, state, others, index, *args, **kwargs)
        records = [record for record in customized_info.get(KEY, {index: ()})[index] if record is not None]
        summary = getattr(state, "moi_summary", None)
        if records:
            if summary is None:
                summary = state.moi_summary = Summary(request_settings(asked_params(state), self._settings).per_token)
            summary.add(records)
        if summary is not None:
            meta_info[KEY] = summary.to_dict()
