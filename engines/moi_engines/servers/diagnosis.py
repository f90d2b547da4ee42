"""What arrives at a server of the settings of three short requests: a plain one, a mixing one, a bad one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from moi_engines.protocol import SamplingParams
from moi_engines.servers.dialects import Answer, Question
from moi_engines.servers.pool import Pool, Served
from moi_engines.servers.proof import TOKENS, NotMixedError, check_mixed

_PROMPT = "Count from one to ten."
_REQUESTS: dict[str, dict[str, Any]] = {
    "plain": {"policy": "token"},
    "mixing": {"policy": "moi", "beta": 0.5},
    "bad": {"policy": "moi", "beta": -1},
}


@dataclass(frozen=True)
class Finding:
    """What came of one request.

    way      "chat", or "text" for a prompt that no template is put around
    request  "plain", "mixing" or "bad"
    good     whether the settings arrived, as far as this request tells
    """

    way: str
    request: str
    good: bool
    found: str


async def diagnose(pool: Pool, served: Served) -> list[Finding]:
    """Six findings of the first server of an entered pool: three as a chat, three as text. OSError if it is gone."""
    return [await _finding(pool, served, way, name) for way in ("chat", "text") for name in _REQUESTS]


def usable(findings: list[Finding], way: str) -> bool:
    """Whether all requests of one way came out as they should."""
    return all(finding.good for finding in findings if finding.way == way)


async def _finding(pool: Pool, served: Served, way: str, name: str) -> Finding:
    sampling = SamplingParams(max_new_tokens=TOKENS, ignore_eos=True, temperature=1.0)
    question = Question(_PROMPT, way == "chat", sampling, _REQUESTS[name])
    try:
        answer = await pool.ask(question, served)
    except (ValueError, RuntimeError) as error:
        return Finding(way, name, name == "bad" and "beta" in str(error), str(error))
    if name == "bad":
        return Finding(way, name, False, f"answered with {answer.tokens} tokens; settings that are wrong are a 400")
    try:
        check_mixed(question, answer, pool.urls[0])
    except NotMixedError as error:
        return Finding(way, name, False, str(error))
    return Finding(way, name, name == "plain" or _mixed(answer) > 0, _told(answer))


def _mixed(answer: Answer) -> int:
    return 0 if answer.telemetry is None else answer.telemetry.mixed_tokens


def _told(answer: Answer) -> str:
    told = answer.telemetry
    if told is None:
        return f"{answer.tokens} tokens, none mixed"
    means = f"entropy {told.mean_entropy:.3f}, intervention {told.mean_intervention:.3f}"
    return f"{answer.tokens} tokens, {told.mixed_tokens} fed as mixtures, {means}"
