"""Does a backend decode as the reference does? Tests, `moi selftest`, `moi export` and the benchmarks ask here.

The question is not whether tokens are equal, which one near tie upsets on another processor, but whether every token
is a choice that the reference would make, up to rounding, after the same history. So the backend decodes freely, and
the reference follows its tokens (`parity_reference`); at each step `parity_margin` says how far from right the choice
was. A near tie is within the tolerance; a wrong weight, position or slot, or a stale cache, is not.

Rounding grows where feedback does not contract: `direct` and beta near 0 on random weights. Callers judge as many
steps there as are decidable (16 in float32), by the rows' max_new_tokens; tolerances stay.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import takewhile

from moi import MoIConfig
from moi_engines.parity_margin import Choices
from moi_engines.parity_reference import Mixes, Reference, Step
from moi_engines.protocol import FinishReason, Generation, Prompt, SamplingParams


@dataclass(frozen=True)
class Tolerance:
    """What rounding may do: to the choice of a token (`parity_margin`), and to H and the intervention (0..1).

    rounding  relative error of the twins' inputs (`parity_reference`): several times what the type's own is
    outliers  departures allowed all the same, as a share of the judged tokens: where errors have no bound but are
              rarely large. Never a choice that no error explains, nor a measure that is no number. What follows one in
              its row is not judged, since the row was fed what the reference was not
    """

    margin: float
    entropy: float
    intervention: float
    rounding: float
    outliers: float = 0.0


TOLERANCES = {
    # Float32 tokens of random and trained models were found at margin 0 and measures within 4e-4 (a swap of two
    # candidates that tie at rank K); the smallest planted mistakes reach 1e-3 in the margin.
    "float32": Tolerance(1e-4, 1e-3, 1e-3, rounding=3e-6),
    # A unit in the last place is 1e-3: of logits around 10 that is 1e-2, a few layers make it several times as much.
    "float16": Tolerance(5e-2, 5e-2, 5e-2, rounding=4e-3),
    # Eight times float16's.
    "bfloat16": Tolerance(0.3, 0.3, 0.3, rounding=2e-2),
    # The reference has the same int4 weights bit for bit (`parity_types`), and a graph with float32 products is held to
    # float32's tolerance. But ONNX Runtime rounds what it multiplies them with to 8 bits, by blocks whose largest entry
    # sets the step: about one token in a thousand is further off. A fault stays for many tokens.
    "int4": Tolerance(0.5, 0.6, 0.6, rounding=3e-2, outliers=0.05),
}
FLOAT32 = TOLERANCES["float32"]


@dataclass(frozen=True)
class Cases:
    """Prompts with the sampling and mixing of each.

    noise       [row][step] in [0,1) that replaces the seeds, or None
    own_noise   the backend draws random numbers of its own: of a sampled token only the filters can be judged
    mixes       (row, step) -> whether the row may feed a mixture after the token of that step; None: always
    """

    prompts: Sequence[Prompt]
    sampling: Sequence[SamplingParams]
    moi: Sequence[MoIConfig]
    noise: Sequence[Sequence[float]] | None = None
    own_noise: bool = False
    mixes: Mixes | None = None


@dataclass(frozen=True)
class Output:
    """What a backend that has no `Generation` tells of a row; None: it does not tell."""

    token_ids: Sequence[int]
    finish_reason: FinishReason | None = None
    entropies: Sequence[float] | None = None
    interventions: Sequence[float] | None = None


@dataclass(frozen=True)
class Departure:
    """Where a row leaves what the reference allows: `found` instead of `expected`, by more than `allowed`."""

    row: int
    step: int
    what: str
    found: object
    expected: object
    by: float = 1.0
    allowed: float = 0.0

    @property
    def sized(self) -> bool:
        """Whether a larger error of the arithmetic would explain it."""
        return self.allowed > 0 and self.by < 1

    def __str__(self) -> str:
        size = f" (margin {self.by:.2g}, allowed {self.allowed:.2g})" if self.allowed else ""
        return f"row {self.row}, step {self.step}: {self.what} {self.found}, not {self.expected}{size}"


@dataclass
class Parity:
    """The verdict on all rows.

    tokens, judged  generated, and those of them that rounding alone cannot decide
    lost  of those that are not judged: tokens that follow an outlier in their row
    margin, entropy, intervention  the largest found, whatever was allowed
    outliers  departures that the tolerance allows, of those that are sized
    departures  beyond the tolerance, in the order of the steps
    """

    tokens: int = 0
    judged: int = 0
    lost: int = 0
    outliers: int = 0
    margin: float = 0.0
    entropy: float = 0.0
    intervention: float = 0.0
    departures: list[Departure] = field(default_factory=list)

    @property
    def agrees(self) -> bool:
        """Whether nothing departs but rare outliers, and enough was judged to say so."""
        return not self._departs and 3 * self.judged >= self.tokens

    @property
    def reason(self) -> str | None:
        """The first departure that counts in words; None if the backend agrees."""
        if self._departs:
            return str(self._departs[0])
        return None if self.agrees else f"rounding decides all but {self.judged} of {self.tokens} tokens"

    @property
    def _departs(self) -> list[Departure]:
        """All departures if there are more than allowed, else those that no rounding explains."""
        sized = sum(departure.sized for departure in self.departures)
        return [each for each in self.departures if sized > self.outliers or not each.sized]

    def __str__(self) -> str:
        found = f"{self.judged} of {self.tokens} tokens judged, largest margin {self.margin:.2g}"
        return found if self.agrees else f"{found}; {self.reason}"


def judge(
    reference: Reference, cases: Cases, outputs: Sequence[Output | Generation], tolerance: Tolerance = FLOAT32
) -> Parity:
    """The verdict on a backend's outputs, one for each case; ValueError if their numbers differ."""
    if len(outputs) != len(cases.prompts):
        raise ValueError(f"{len(outputs)} outputs for {len(cases.prompts)} prompts")
    parity = Parity(tokens=sum(len(output.token_ids) for output in outputs))
    vocab = reference.limits.vocab
    # What follows an id outside the vocabulary cannot be judged.
    known = [list(takewhile(lambda token: 0 <= token < vocab, output.token_ids)) for output in outputs]
    ends: list[tuple[int, FinishReason | None]] = [(0, None)] * len(outputs)
    rows, lost = (cases.prompts, cases.sampling, cases.moi, known), set[int]()
    for step in reference.follow(*rows, rounding=tolerance.rounding, noise=cases.noise, mixes=cases.mixes):
        row, at = step.event.row, ends[step.event.row][0]
        if row in lost:
            parity.lost += 1
        elif step.drift <= tolerance.margin / 2:
            parity.judged += 1
            departed = len(parity.departures)
            _judge_token(parity, step, at, cases, tolerance)
            if not step.jumps:
                _judge_measures(parity, step, at, outputs[row], tolerance)
            if tolerance.outliers and len(parity.departures) > departed:
                lost.add(row)
        ends[row] = (at + 1, step.event.finish_reason)
    parity.outliers = int(tolerance.outliers * (parity.judged + parity.lost))
    for row, (count, reason) in enumerate(ends):
        _judge_end(parity, row, count, reason, outputs[row], vocab)
    return parity


def _judge_token(parity: Parity, step: Step, at: int, cases: Cases, tolerance: Tolerance) -> None:
    row, token = step.event.row, step.event.token_id
    choices = Choices(step.logits, cases.sampling[row], None if cases.own_noise else step.noise)
    margin = choices.margin(token)
    parity.margin = max(parity.margin, margin)
    if margin > tolerance.margin:
        parity.departures.append(Departure(row, at, "token", token, choices.best(), margin, tolerance.margin))


def _judge_measures(parity: Parity, step: Step, at: int, output: Output | Generation, tolerance: Tolerance) -> None:
    """Entropy and intervention, where the backend tells them."""
    for name, told, allowed in (
        ("entropy", output.entropies, tolerance.entropy),
        ("intervention", output.interventions, tolerance.intervention),
    ):
        if told is None:
            continue
        expected = getattr(step.event, name)
        found = told[at] if at < len(told) else math.nan
        by = abs(found - expected) if math.isfinite(found) else 1.0
        setattr(parity, name, max(getattr(parity, name), by))
        if by > allowed:
            row = step.event.row
            parity.departures.append(Departure(row, at, name, f"{found:.4g}", f"{expected:.4g}", by, allowed))


def _judge_end(
    parity: Parity, row: int, count: int, reason: FinishReason | None, output: Output | Generation, vocab: int
) -> None:
    """Whether the row ended where it had to, and for that reason."""
    total = len(output.token_ids)
    found: object = output.finish_reason or "the end"
    if count < total and reason is None:
        found, expected = output.token_ids[count], f"an id below {vocab}"
    elif count < total:
        found, expected = f"{total - count} tokens more", f"the end ({reason})"
    elif reason is None:
        expected = "another token"
    elif output.finish_reason not in (None, reason):
        expected = reason
    else:
        return
    parity.departures.append(Departure(row, count, "ends with" if count == total else "goes on with", found, expected))
