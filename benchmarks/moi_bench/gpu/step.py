"""What a line of the plan says.

In a command, which is what follows `python`, $out is --out, $name the step, $tests the tests of the checkout, $model a
folder of --models, and $engine the best engine for it that is installed.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from string import Template


@dataclass(frozen=True)
class Way:
    """How a step is done.

    command      what follows `python`
    file         what it writes into --out; `figures.read` knows the kind by the contents
    needs        modules without which it is skipped
    environment  variables of its process besides those of `environment`; None takes one away
    stand_ins    folders of the tests that go on its PYTHONPATH
    """

    command: str
    file: str
    needs: tuple[str, ...] = ()
    environment: Mapping[str, str | None] = field(default_factory=dict)
    stand_ins: tuple[str, ...] = ()

    def filled(self, words: Mapping[str, object]) -> Way:
        """With `words` in their places; a word with spaces stays one argument."""
        arguments = [Template(part).substitute(words) for part in shlex.split(self.command)]
        return replace(self, command=shlex.join(arguments), file=Template(self.file).substitute(words))


@dataclass(frozen=True)
class Step:
    """One step.

    what       it shows, in a line
    real       on a GPU
    rehearsal  the counterpart on a CPU, or the step whose rehearsal is this one's too
    seconds    it is ended after, however much of the budget is left
    each       "model": once for each folder of --models
    """

    name: str
    what: str
    real: Way
    rehearsal: Way | str
    seconds: int
    each: str = ""
