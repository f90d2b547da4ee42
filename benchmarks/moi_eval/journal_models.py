"""What the lines of a results file hold: its settings, as far as tables read them, and its samples."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field, field_validator

from moi_eval.models import Count, Number, ReadModel

# Sums of up to 65 float32 weights, rounded: a share may miss its bounds by that much.
Share = Annotated[Number, Field(ge=-1e-3, le=1 + 1e-3)]


class Task(ReadModel):
    """Of a header: which problems."""

    name: str
    n: Count


class Model(ReadModel):
    """Of a header: which weights."""

    name: str


class Arm(ReadModel):
    """Its label, and the label of the plain arm it is compared with; its limit where it is not that of the others."""

    label: str
    plain: str
    max_new_tokens: Count = 1


class Settings(ReadModel):
    """Of a header: what all arms share."""

    task: Task
    model: Model
    engine: str
    arms: Annotated[list[Arm], Field(min_length=1)]
    samples: Count
    max_new_tokens: Count

    @field_validator("arms")
    @classmethod
    def _labels_once(cls, arms: list[Arm]) -> list[Arm]:
        labels = [arm.label for arm in arms]
        if len(set(labels)) < len(labels):
            raise ValueError("every label must stand there once")
        return arms


class Sample(ReadModel):
    """One decoded text; solved is null where this project does not judge, entropy and intervention where a server tells
    nothing of plain texts. Samples that answer alike have the same `answer`, which a majority vote counts.
    """

    model_config = ConfigDict(extra="forbid")
    arm: str
    item: str
    sample: Annotated[int, Field(ge=0)]
    solved: bool | None
    outcome: str
    tokens: Count
    finish: str
    entropy: Share | None
    intervention: Share | None
    answer: str | None = None
    text: str
