"""What models of results share: values that JSON holds, the environment, and complaints that name a field."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

# Nothing that is measured is beyond: sums and percentages of what was read stay finite.
_LARGEST = 10**18
Number = Annotated[float, Field(allow_inf_nan=False, ge=-_LARGEST, le=_LARGEST)]
Count = Annotated[int, Field(ge=1, le=_LARGEST)]


class ReadModel(BaseModel):
    """Part of a file that this project wrote and somebody may have edited; fields that nothing reads may be there."""

    model_config = ConfigDict(strict=True, extra="allow")


class Environment(ReadModel):
    """The machine, versions and command of a row or a results file."""

    device: str
    command: str
    versions: dict[str, str | None]
    driver: str | None = None
    commit: str | None = None
    note: str | None = None


def validate(model: type[BaseModel], value: Any, where: str) -> None:
    """ValueError that names the first field of `value` that does not fit the model."""
    try:
        model.model_validate(value)
    except ValidationError as error:
        raise ValueError(complaint(error, where)) from None


def complaint(error: ValidationError, where: str, outer: int = 0) -> str:
    """The first thing that is wrong, in one line; `outer` parts of its path are left out."""
    first = error.errors(include_url=False)[0]
    path = ".".join(map(str, first["loc"][outer:]))
    if first["type"] == "missing":
        return f"{where} lacks {path!r}; rows are read as moi bench writes them"
    return f"{where} has {path}={first['input']!r}: {first['msg']}"
