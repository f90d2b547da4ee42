"""The torch engine along given tokens: at each step, what it would choose from after the same history.

Beside each row run its twins: the same tokens, but every input off by as much as the backend's rounding may be. Where
a model amplifies rounding (`direct` and small beta on random weights do) they drift away, and from there on rounding
alone decides what a backend generates: nothing can be said of it. The same holds after a mixture that rounding alone
decides: an entropy at a threshold, a random number at the boundary of two candidates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from moi import Mixture, MoIConfig, mix, policy_code
from moi_engines.checkpoint import Checkpoint, load_checkpoint
from moi_engines.noise import drawn_uniforms
from moi_engines.parity_types import round_to_int4
from moi_engines.protocol import Prompt, SamplingParams, TokenEvent
from moi_engines.request import SequenceState, prepare
from moi_engines.torch_loop import Settings, TorchLoop

# 2.4 GB in float64. Larger models are followed in float32, whose own rounding the tolerances hold, too.
FLOAT64_PARAMETERS = 300_000_000
# A twin may miss what a model amplifies: after 21 mixtures of `soft`, one of 40 was 30 times nearer than most of them.
_TWINS = 3
_ROWS = 1 + _TWINS  # of a request: its own, and its twins
_BATCH = 8 * _ROWS
# Jumps are looked for within so many times the twins' errors in logits, and this error in random numbers. A policy that
# is continuous changes its weights by at most _STEEPEST times an error in logits (a steeper one is judged less far), by
# what they move in its twins, and less than twice what logits move over the temperature, where those are exchanged.
_REACH, _UNIFORM_ERROR, _STEEPEST, _LEAST_JUMP, _LEAST_EXCHANGE = 4.0, 4e-6, 6.0, 5e-4, 1e-5
Mixes = Callable[[int, int], bool]  # (row, step) -> whether the row may feed a mixture after the token of that step


class Step(NamedTuple):
    """A step of one row: the event of the given token, and the logits [V] and noise it is chosen by.

    drift  total variation distance (0..1) of the twins' distributions from the row's, their root mean square and the
           largest so far
    jumps  whether rounding alone decides the mixture that is fed next
    """

    event: TokenEvent
    logits: Tensor
    noise: float
    drift: float
    jumps: bool


class Reference:
    """Decodes along given tokens, in float64 up to FLOAT64_PARAMETERS parameters and in float32 beyond.

    weights  "float32", "float16", "bfloat16" or "int4", what the weights are rounded to first: those of the
             backend that is judged, whose arithmetic is in question and not its weights
    source   the type that weights were in before they were rounded to int4

    It stays on the CPU, beside whatever a backend keeps on a GPU. The op's own arithmetic is float32 by
    definition, and so is what transformers computes in float32 whatever the model's type (norms, rotary angles).
    Raises what `load_checkpoint` does.
    """

    def __init__(self, model: str | Path, *, weights: str = "float32", source: str = "float32") -> None:
        dtype = getattr(torch, source if weights == "int4" else weights)
        self.checkpoint = load_checkpoint(model, torch.device("cpu"), dtype)
        self.limits = self.checkpoint.limits
        decoder = self.checkpoint.model
        if weights == "int4":
            round_to_int4(decoder.float())
        wide = sum(tensor.numel() for tensor in decoder.parameters()) <= FLOAT64_PARAMETERS
        decoder.to(torch.float64 if wide else torch.float32)

    def follow(
        self,
        prompts: Sequence[Prompt],
        sampling: Sequence[SamplingParams],
        moi: Sequence[MoIConfig],
        tokens: Sequence[Sequence[int]],
        *,
        rounding: float,
        noise: Sequence[Sequence[float]] | None = None,
        mixes: Mixes | None = None,
    ) -> Iterator[Step]:
        """Steps of all rows, interleaved: row i takes tokens[i] until they or the request end.

        The event of a row's last step has a finish_reason if the request ends there. Tokens are ids of the
        vocabulary; `rounding` is the relative error of each input of the twins. `mixes` says where rows are fed
        their tokens alone, for hosts that stop mixing in the midst of a text; None: nowhere.
        """
        given_noise = None if noise is None else _for_all(noise)
        requests = _for_all(prompts), _for_all(sampling), _for_all(moi), given_noise
        rows = prepare(*requests, self.checkpoint.tokenizer, self.limits)
        loop = _GivenTokens(self.checkpoint, _for_all(tokens), rounding, mixes)
        drift = [0.0] * len(prompts)
        for start in range(0, len(rows), _BATCH):
            for event in loop.decode(rows[start : start + _BATCH]):
                row, twin = divmod(event.row, _ROWS)
                if not twin:
                    logits, twins, u = loop.seen[row]
                    drift[row] = max(drift[row], _distance(logits, twins))
                    yield Step(replace(event, row=row), logits, u, drift[row], row in loop.jumped)
                    if row in loop.jumped:
                        drift[row] = 1.0


class _GivenTokens(TorchLoop):
    """Takes given tokens instead of sampling; each row is followed by its twins, whose inputs are off by `rounding`.

    seen    row -> what its last step saw: its logits [V], its twins' [_TWINS,V], and its noise
    jumped  rows that were fed a mixture which rounding alone decides
    """

    def __init__(
        self, checkpoint: Checkpoint, tokens: Sequence[Sequence[int]], rounding: float, mixes: Mixes | None
    ) -> None:
        super().__init__(checkpoint, implementation="reference")
        self.seen: dict[int, tuple[Tensor, Tensor, float]] = {}
        self.jumped: set[int] = set()
        self._tokens, self._taken, self._mixes = tokens, [0] * len(tokens), mixes
        self._rounding, self._random = rounding, torch.Generator(self.device).manual_seed(0)

    def sample(self, logits: Tensor, rows: list[SequenceState], settings: Settings) -> Tensor:
        """The given tokens; a row that has none left is over."""
        noise = [next(row.noise, 0.0) for row in rows]
        places = range(0, len(rows), _ROWS)
        self.seen = {rows[i].index // _ROWS: (logits[i], logits[i + 1 : i + _ROWS], noise[i]) for i in places}
        chosen = []
        for row in rows:
            given, at = self._tokens[row.index], self._taken[row.index]
            self._taken[row.index] += 1
            if at >= len(given) and row.finish_reason is None:
                row.finish_reason = "length"  # no event follows: the caller sees that none had a reason
            chosen.append(given[at] if at < len(given) else 0)
        return torch.tensor(chosen, device=self.device)

    def mix(self, logits: Tensor, token: Tensor, rows: list[SequenceState], settings: Settings) -> Mixture:
        """Policy "token" where rows do not mix."""
        if self._mixes is not None:
            mixing = torch.tensor([self._mixes_now(row, self._mixes) for row in rows], device=self.device)
            policy = torch.where(mixing, settings.moi.policy, policy_code("token"))
            settings = settings._replace(moi=settings.moi._replace(policy=policy))
        mixture = super().mix(logits, token, rows, settings)
        self._find_jumps(mixture, logits, token, rows, settings)
        return mixture

    def _find_jumps(
        self, mixture: Mixture, logits: Tensor, token: Tensor, rows: list[SequenceState], settings: Settings
    ) -> None:
        """Mix again from logits and random numbers a little off, either way, and from near ties exchanged: where
        policies are continuous, so little comes of it that the rest are jumps."""
        own, *twins = (logits[start::_ROWS] for start in range(_ROWS))
        first = torch.arange(0, len(rows), _ROWS, device=self.device)
        given = settings.moi.select(first)._replace(uniforms=drawn_uniforms(rows[::_ROWS], self.device))
        errors = [(twin - own).nan_to_num(0, 0, 0) * _REACH for twin in twins]
        values, best = own.topk(min(rows[0].moi.top_k + 2, own.shape[1]))
        sizes = torch.stack([error.gather(1, best).abs().amax(-1) for error in errors])
        heat = torch.where(given.temperature > 0, given.temperature, 1.0).clamp(max=1)
        exchanged = list(_exchanged(values, _rms(sizes)[:, None]))
        steps = torch.stack([(changed - values).nan_to_num(0, 0, 0).abs().amax(-1) for changed in exchanged])
        moved = [own + signed for error in errors for signed in (error, -error)]
        moved += [own.scatter(1, best, changed) for changed in exchanged]
        rows_of = torch.arange(len(own), device=self.device).repeat(len(moved))  # all are mixed in one call
        again = given.select(rows_of)
        if again.uniforms is not None:
            off = torch.tensor([1.0, -1.0] * _TWINS + [0.0] * len(exchanged), device=self.device) * _UNIFORM_ERROR
            uniforms = again.uniforms + off.repeat_interleave(len(own))[:, None]
            again = again._replace(uniforms=uniforms.clamp(0, 1 - 2**-24))
        settings_now, tokens = again._asdict(), token[::_ROWS][rows_of]
        after = mix(torch.cat(moved).float(), tokens, rows[0].moi, **settings_now, implementation="reference")
        row, *others = (Mixture(*(each[start::_ROWS] for each in mixture)) for start in range(_ROWS))
        before = Mixture(*(each[rows_of] for each in row))
        changes = _difference(before, after, logits.shape[1]).view(len(moved), -1)
        shifts, exchanges = changes.split([2 * _TWINS, len(exchanged)])
        jumps = shifts > _STEEPEST * sizes.repeat_interleave(2, 0) + _LEAST_JUMP
        apart = _rms(torch.stack([_difference(row, other, logits.shape[1]) for other in others]))
        found = jumps.any(0) | (exchanges > apart + _LEAST_EXCHANGE + 2 * steps / heat).any(0)
        self.jumped |= {rows[_ROWS * i].index // _ROWS for i in found.nonzero()[:, 0].tolist()}

    def scale(self, x: Tensor) -> Tensor:
        """As the model takes them, twins a little off."""
        scale = self.checkpoint.scale
        x = x.clone() if scale is None else x * scale.to(x.dtype)
        twins = x.unflatten(0, (-1, _ROWS))[:, 1:]  # rows leave a batch with their twins
        twins *= 1 + self._rounding * torch.randn(twins.shape, generator=self._random, dtype=x.dtype, device=x.device)
        return x

    def _mixes_now(self, row: SequenceState, mixes: Mixes) -> bool:
        step = self._taken[row.index] - 1
        return step < len(self._tokens[row.index]) and mixes(row.index // _ROWS, step)


def _exchanged(values: Tensor, size: Tensor) -> Iterator[Tensor]:
    """The best logits [B,n] with neighbours that are nearer than `size` [B,1] exchanged: where weights depend on ranks,
    all that changes is what rounding decides. Pairs from even ranks on, then those from odd ones."""
    near = values[:, :-1] - values[:, 1:] < size
    apart = (4 * torch.finfo(torch.float32).eps * values.abs()).nan_to_num(0, 0, 0)  # or they would tie in float32
    for first in (0, 1):
        upper = torch.arange(first, near.shape[1], 2, device=values.device)
        pairs = near[:, upper]
        order = torch.arange(values.shape[1], device=values.device).repeat(len(values), 1)
        order[:, upper] += pairs.long()
        order[:, upper + 1] -= pairs.long()
        exchanged = values.gather(1, order)
        exchanged[:, upper] -= apart[:, upper] * pairs
        exchanged[:, upper + 1] += apart[:, upper] * pairs
        yield exchanged


def _difference(mixture: Mixture, other: Mixture, vocab: int) -> Tensor:
    """Sum over ids of |w - w'|, [B]."""
    total = torch.zeros(len(mixture.ids), vocab, device=mixture.weights.device)
    total.scatter_add_(1, mixture.ids.long(), mixture.weights)
    total.scatter_add_(1, other.ids.long(), -other.weights)
    return total.abs().sum(-1)


def _for_all(values: Sequence[Any]) -> list[Any]:
    """Each value for a row and for its twins."""
    return [value for value in values for _ in range(_ROWS)]


def _rms(errors: Tensor) -> Tensor:
    """Root mean square over the twins, [_TWINS,...] -> [...]."""
    return errors.square().mean(0).sqrt()


def _distance(logits: Tensor, twins: Tensor) -> float:
    """Total variation distance of the twins' distributions [_TWINS,V] from the row's [V], root mean square."""
    return float(_rms((torch.softmax(logits, -1) - torch.softmax(twins, -1)).abs().sum(-1))) / 2
