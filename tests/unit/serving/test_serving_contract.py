"""What a plugin declares of its host is what is checked: a host may grow, and what it loses is named."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from moi_serving.compatibility import GONE, Conflict, above_one, conflicts
from moi_serving.contract import Contract, problems

SIGNATURES = {
    "as declared": "def target(self, batch, runner, *, checkpoint): ...",
    "one more optional parameter": "def target(self, batch, runner, stream=None, *, checkpoint, record=False): ...",
    "by position or by name": "def target(self, batch, runner, checkpoint): ...",
    "takes anything, too": "def target(self, batch, runner, *args, checkpoint, **kwargs): ...",
}
DRIFTS = {
    "def target(self, batch, *, checkpoint): ...": "no longer takes runner: it takes (batch, checkpoint)",
    "def target(self, batch, runner): ...": "no longer takes checkpoint: it takes (batch, runner)",
    "def target(self, runner, batch, *, checkpoint): ...": "no longer begins with batch, runner: it takes (runner,",
    "target = None": "is missing",
}


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Any:
    """host(text): the module `toyhost`, whose class `Engine` has this body."""

    def make(body: str) -> ModuleType:
        module = ModuleType("toyhost")
        text = f"class Engine:\n    {body}\n"
        exec(text, module.__dict__)
        monkeypatch.setitem(sys.modules, "toyhost", module)
        return module

    return make


@pytest.mark.parametrize("body", SIGNATURES.values(), ids=list(SIGNATURES))
def test_a_host_that_grew_keeps_the_contract(body: str, host: Any) -> None:
    host(body)
    contract = Contract("toyhost.")
    assert contract.hooked("Engine.target(batch, runner, *, checkpoint)") == "toyhost.Engine.target"
    assert problems(contract.symbols) == []


@pytest.mark.parametrize(("body", "told"), DRIFTS.items())
def test_what_was_lost_is_named(body: str, told: str, host: Any) -> None:
    module = host(body)
    if body == "target = None":
        del module.Engine.target
    contract = Contract("toyhost.")
    contract.hooked("Engine.target(batch, runner, *, checkpoint)")
    (problem,) = problems(contract.symbols)
    assert problem.startswith(f"toyhost.Engine.target {told}")


def test_what_is_called_may_need_nothing_else_and_what_is_hooked_may(host: Any) -> None:
    host("def target(self, batch, stream): ...")
    contract = Contract("toyhost.")
    contract.hooked("Engine.target(batch)")
    assert problems(contract.symbols) == []
    contract.called("Engine.target(batch)")
    assert problems(contract.symbols) == ["toyhost.Engine.target also needs stream: it takes (batch, stream)"]


def test_methods_of_classes_and_functions_are_called_as_they_are_declared(host: Any) -> None:
    module = host("target = classmethod(lambda cls, batch: ('engine', batch))")
    module.free = lambda *, batch: ("free", batch)  # type: ignore[attr-defined]
    contract = Contract("toyhost.")
    assert contract.function("Engine.target(batch)")(3) == ("engine", 3)
    assert contract.function("free(*, batch)")(batch=4) == ("free", 4)
    assert problems(contract.symbols) == []


@pytest.mark.parametrize(
    "body",
    [
        "slots: int",
        "slots = 3",
        "slots = property(lambda self: 3)",
        "def __init__(self): self.slots = 3",
        "def later(self, other):\n        self.slots, other = other, self.slots",
    ],
)
def test_a_field_is_found_however_the_host_declares_it(body: str, host: Any) -> None:
    host(body)
    contract = Contract("toyhost.")
    slots = contract.field("Engine", "slots")
    assert slots(SimpleNamespace(slots=5)) == 5
    assert problems(contract.symbols) == []
    contract.has("Engine", "slots", "slot_count")
    assert problems(contract.symbols) == ["toyhost.Engine has no slot_count"]


def test_a_field_of_a_base_class_counts_and_one_that_is_only_read_does_not(host: Any) -> None:
    module = host("def __init__(self): self.slots = self.pool")
    module.Child = type("Child", (module.Engine,), {})  # type: ignore[attr-defined]
    contract = Contract("toyhost.")
    contract.has("Child", "slots", "pool")
    assert problems(contract.symbols) == ["toyhost.Child has no pool"]


def test_a_row_conflicts_by_the_resolved_field_and_one_that_is_gone_cannot_be_told_to_be_off() -> None:
    table = (
        Conflict("--ranks", "mapping.ranks", above_one, "rows live on one"),
        Conflict("--drafts", "drafts", bool, "drafts have no mixtures"),
    )

    def told(settings: Any) -> list[tuple[str, Any]]:
        return [(row.flag, value) for row, value in conflicts(table, settings)]

    assert told(SimpleNamespace(mapping=SimpleNamespace(ranks=1), drafts=None)) == []
    assert told({"mapping": {"ranks": 2}, "drafts": True}) == [("--ranks", 2), ("--drafts", True)]
    assert told({"mapping": None, "drafts": 0}) == [], "what holds the field is off"
    assert told(SimpleNamespace(drafts=False)) == [("--ranks", GONE)]
