"""What the hooks know of a batch, attached to SGLang's ForwardBatch when it is made."""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import Tensor

_ATTRIBUTE = "moi_metadata"


class Replay(NamedTuple):
    """Mixtures of tokens that are prefilled again: their places [n] in the batch's inputs, their rows [n,W]."""

    at: Tensor
    rows: Tensor


class BatchMetadata(NamedTuple):
    """active: some row may mix. A batch without metadata, as in graph capture, may hold anything."""

    active: bool
    replay: Replay | None = None


UNKNOWN = BatchMetadata(active=True)


def attach(forward_batch: Any, metadata: BatchMetadata) -> None:
    """Keep it with the batch."""
    setattr(forward_batch, _ATTRIBUTE, metadata)


def metadata_of(forward_batch: Any, otherwise: BatchMetadata = UNKNOWN) -> BatchMetadata:
    """Of a batch; `otherwise` where nobody attached any, as to a copy that a runner made."""
    metadata: BatchMetadata = getattr(forward_batch, _ATTRIBUTE, otherwise)
    return metadata
