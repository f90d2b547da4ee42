"""What the lines of a results file hold: its settings, as far as tables read them, and its samples."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from moi_bench.row_models import Count, Number


class Task(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")
    name: str
    n: Count


class Model(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")
    name: str


class Arm(BaseModel):
    """Its label, and the label of the plain arm it is compared with."""

    model_config = ConfigDict(strict=True, extra="allow")
    label: str
    plain: str


class Settings(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")
    task: Task
    model: Model
    engine: str
    arms: list[Arm]
    samples: Count
    max_new_tokens: Count


class Sample(BaseModel):
    """One decoded text; solved is null where this project does not judge."""

    model_config = ConfigDict(strict=True, extra="forbid")
    arm: str
    item: str
    sample: Annotated[int, Field(ge=0)]
    solved: bool | None
    outcome: str
    tokens: Count
    finish: str
    entropy: Number
    intervention: Number
    text: str
