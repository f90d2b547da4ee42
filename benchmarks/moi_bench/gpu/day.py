"""The jobs of a day in turn. Whatever becomes of one, it is on file, and the next begins."""

from __future__ import annotations

import shlex
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from moi_bench.gpu import environment, figures, process, summary
from moi_bench.gpu.environment import Place
from moi_bench.gpu.jobs import Job
from moi_bench.gpu.summary import Record

LEAST_S = 15.0  # that must be left for a job to begin


@dataclass
class Day:
    """What is known of each job, by name: at first from an earlier run, whose other jobs stay behind those of this one.

    about    heads the summary
    until    when the budget is over, in seconds of time.monotonic()
    again    also what is finished
    """

    jobs: Sequence[Job]
    place: Place
    about: dict[str, Any]
    until: float
    again: bool = False
    log: Callable[[str], None] = lambda text: None
    records: dict[str, Record] = field(default_factory=dict)

    def run(self, steps: Sequence[str] | None = None) -> None:
        """All jobs, or those of some steps; KeyboardInterrupt after Ctrl-C, when the one that ran is ended and on
        file."""
        (self.place.out / "logs").mkdir(parents=True, exist_ok=True)
        mine = {job.name: self.records.get(job.name) or job.record("not run") for job in self.jobs}
        earlier = {name: found for name, found in self.records.items() if found["seconds"] is not None}  # other models'
        self.records = mine | {name: found for name, found in earlier.items() if name not in mine}
        for number, job in enumerate(self.jobs, 1):
            if steps is None or job.step.name in steps:
                self.log(f"{number}/{len(self.jobs)} {job.name}: {job.step.what}")
                left = self.until - time.monotonic()
                # Steps of several models take as long as there is time: they share it.
                sharers = sum(bool(other.step.each) for other in self.jobs[number - 1 :]) if job.step.each else 1
                self._one(job, left / sharers)

    @property
    def failed(self) -> bool:
        """Whether one of its own jobs failed, in this run or an earlier one."""
        return any(self.records[job.name]["status"] == "failed" for job in self.jobs)

    def _one(self, job: Job, left: float) -> None:
        known = self.records[job.name]
        if known["status"] == "ok" and known["command"] == job.command and not self.again:
            self.log("  finished by an earlier run; --again repeats it")
        elif job.reason is not None:
            self._tell(job.record("skipped", job.reason))
        elif left < LEAST_S:
            self._tell(job.record("skipped", "nothing was left of the budget"))
        else:
            self.log(f"  {job.command}")
            if job.real is not None:
                self.log(f"  stands for: python {job.real.command}")
            self._run(job, min(job.step.seconds, left))

    def _run(self, job: Job, limit: float) -> None:
        place, file, log = self.place, self.place.out / job.way.file, self.place.out / "logs" / f"{job.name}.log"
        found = environment.variables(place, job.way)
        before, start = _stamp(file), time.monotonic()

        def record(status: str, reason: str | None) -> None:
            told = {
                "seconds": round(time.monotonic() - start, 1),
                "limit_s": round(limit, 1),
                "log": f"logs/{log.name}",
            }
            if status == "ok" or _stamp(file) != before:  # else it is of an earlier run
                told |= {"file": job.way.file, "figures": _figures(file)}
            self._tell(job.record(status, reason, **told))

        try:
            status = process.run([sys.executable, *shlex.split(job.way.command)], found, log, limit)
            record(*_verdict(status, file, log, limit, cut=limit < job.step.seconds))
        except KeyboardInterrupt:
            record("interrupted", None)
            raise
        except Exception as error:  # no step is the end of the day
            record("failed", f"{type(error).__name__}: {error}")

    def _tell(self, record: Record) -> None:
        self.records[record["name"]] = record
        summary.write(self.place.out, self.about, [*self.records.values()])
        self.log(f"  {': '.join(part for part in (record['status'], record['reason'], record['figures']) if part)}")


def _verdict(status: int | None, file: Path, log: Path, limit: float, *, cut: bool) -> tuple[str, str | None]:
    """Status and reason of a job whose process is over."""
    if status is None:
        return ("cut", "the budget was over") if cut else ("failed", f"not finished after {limit:.0f} s")
    if status != 0:
        how = f"ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        return "failed", f"{how}: {_last_line(log)}"
    if _figures(file) is None:
        return "failed", f"ended well, but {file.name} is missing or not whole"
    reason = figures.skipped(file)
    return ("ok", None) if reason is None else ("skipped", reason)


def _figures(file: Path) -> str | None:
    try:
        return figures.read(file)
    except Exception:  # whatever a file says that was cut short
        return None


def _stamp(file: Path) -> int | None:
    return file.stat().st_mtime_ns if file.exists() else None


def _last_line(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines()]
    return next((line[:200] for line in reversed(lines) if line), "it said nothing")
