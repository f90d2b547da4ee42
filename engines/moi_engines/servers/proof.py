"""Whether servers mix, from what they say of a few short requests: before hours go into answers that were plain."""

from __future__ import annotations

from dataclasses import replace

from moi_engines.servers.dialects import Answer, Question
from moi_engines.servers.pool import Pool, Served

TOKENS = 4


class NotMixedError(RuntimeError):
    """A server answered a request that was to be mixed without having mixed it, or the other way round."""


def check_mixed(question: Question, answer: Answer, where: str) -> None:
    """NotMixedError unless the answer's telemetry fits what was asked for."""
    told, name = answer.telemetry, question.settings.get("policy")
    if question.mixes and told is None:
        raise NotMixedError(
            f"{where} answered a request of policy {name!r} without telemetry: it ignores the settings (no plugin, "
            "or a router that drops them), so nothing shows that it was mixed; the text was not kept"
        )
    if not question.mixes and told is not None and told.mixed_tokens:
        raise NotMixedError(f"{where} mixed {told.mixed_tokens} tokens of a request for plain decoding")


async def prove(pool: Pool, served: Served, questions: list[Question]) -> None:
    """Ask every server each question for a few tokens; NotMixedError for the first that does not do as asked.

    questions  one of each way to decode, plain ones too; where all are plain they ask for telemetry, which shows that
               the settings arrive: a server whose requests lose them mixes by its own flags, and says nothing of it
    """
    all_plain = not any(question.mixes for question in questions)
    for question in questions:
        sampling = replace(question.sampling, max_new_tokens=TOKENS, ignore_eos=True)
        told = {"per_token": True} if all_plain else {}
        probe = replace(question, sampling=sampling, settings={**question.settings, **told})
        for url in pool.urls:
            answer = await pool.ask(probe, served, only=url)
            check_mixed(probe, answer, url)
            if probe.mixes and not (answer.telemetry and answer.telemetry.mixed_tokens):
                raise NotMixedError(
                    f"{url} mixed none of {answer.tokens} tokens for policy {probe.settings['policy']!r}"
                )
            if all_plain and answer.telemetry is None:
                raise NotMixedError(
                    f"{url} answered a plain request without the telemetry it asked for: it ignores the settings (no "
                    "plugin, or a router that drops them), so nothing shows that its flags did not mix it"
                )
