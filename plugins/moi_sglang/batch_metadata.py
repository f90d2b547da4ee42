"""What the hooks know of a batch, noted on SGLang's ForwardBatch when it is made."""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import Tensor

_ATTRIBUTE = "moi_note"


class Replay(NamedTuple):
    """Mixtures of tokens that are prefilled again: their places [n] in the batch's inputs, their rows [n,W]."""

    at: Tensor
    rows: Tensor


class Note(NamedTuple):
    """watched: some row may mix. A batch without a note, as in graph capture, may hold anything."""

    watched: bool
    replay: Replay | None = None


UNKNOWN = Note(watched=True)


def attach(forward_batch: Any, note: Note) -> None:
    setattr(forward_batch, _ATTRIBUTE, note)


def note_of(forward_batch: Any, otherwise: Note = UNKNOWN) -> Note:
    note: Note = getattr(forward_batch, _ATTRIBUTE, otherwise)
    return note
