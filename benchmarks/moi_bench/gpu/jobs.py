"""From the table of steps to what runs here: words filled in, a job for each model, and why a step cannot run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from moi_bench.gpu import environment
from moi_bench.gpu.environment import Place
from moi_bench.gpu.step import Step, Way
from moi_bench.gpu.summary import Record


@dataclass(frozen=True)
class Job:
    """A step as it runs: `way`, and, in a rehearsal, the `real` one it stands for. `reason`: why it cannot run."""

    step: Step
    name: str
    way: Way
    real: Way | None = None
    reason: str | None = None

    @property
    def command(self) -> str:
        """For a shell."""
        return f"python {self.way.command}"

    def record(self, status: str, reason: str | None = None, **found: object) -> Record:
        """Its line of the summary."""
        real = None if self.real is None else f"python {self.real.command}"
        empty = {"seconds": None, "limit_s": None, "figures": None, "file": None, "log": None}
        said = {"name": self.name, "what": self.step.what, "status": status, "reason": reason}
        return {**said, **empty, **found, "command": self.command, "real_command": real}


def jobs(steps: Sequence[Step], place: Place) -> Iterator[Job]:
    """In the order of the table; a step for each model once for each."""
    for step in steps:
        if step.each != "model" or place.rehearse or not place.models:
            yield _job(step, place, step.name, None)
            continue
        names = [model.resolve().name for model in place.models]
        for at, model in enumerate(place.models):
            same = names[:at].count(names[at])
            yield _job(step, place, f"{step.name}-{names[at]}{f'-{same + 1}' if same else ''}", model)


def _job(step: Step, place: Place, name: str, model: Path | None) -> Job:
    words = {"out": place.out, "name": name, "model": model or "MODEL", "tests": environment.tests() or "tests"}
    words["engine"] = "torch" if environment.missing(["sglang"], environment.folders(place, step.real)) else "sglang"
    real = step.real.filled(words)
    if not place.rehearse:
        lacking = "no --models" if step.each == "model" and model is None else _lacking(step.real, place)
        return Job(step, name, real, None, lacking)
    if isinstance(step.rehearsal, str):
        return Job(step, name, real, real, f"rehearsed by the step {step.rehearsal}")
    return Job(step, name, step.rehearsal.filled(words), real, _lacking(step.rehearsal, place))


def _lacking(way: Way, place: Place) -> str | None:
    if "$tests" in way.command and environment.tests() is None:
        return "needs a checkout: tests are not installed"
    missing = environment.missing(way.needs, environment.folders(place, way))
    return f"not installed: {', '.join(missing)}" if missing else None
