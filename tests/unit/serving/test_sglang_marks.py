"""Of the two marks around thinking the last one counts: in the prompt, in generated text, and after a retraction."""

from __future__ import annotations

from array import array
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moi import MoIConfig
from moi_serving.mixing_marks import Marks, marks_of
from moi_serving.replay import RequestState
from moi_serving.row_layout import NO_TOKEN
from moi_serving.settings import THINK_END, RequestSettings
from moi_sglang.host import requests as host

START, END = 7, 8
TOKENS = st.lists(st.integers(0, 9), max_size=40)


def policies(marks: Marks, prompt: list[int], output: list[int]) -> list[int]:
    """Of the slot after the prompt and after each generated token, as the tables have it step by step."""
    first = RequestState(RequestSettings(MoIConfig()), marks).settings_after(prompt, [])
    policy, after = first.policy, [first.policy]
    for token in output:
        policy = (
            first.resume_policy
            if token == first.resume_mixing_token_id
            else 0
            if token == first.stop_mixing_token_id
            else policy
        )
        after.append(policy)
    return after


@given(prompt=TOKENS, output=TOKENS, marks=st.sampled_from([Marks(END, START), Marks(END), Marks()]))
def test_a_request_that_is_prefilled_again_decodes_as_if_it_had_run_on(
    prompt: list[int], output: list[int], marks: Marks
) -> None:
    state = RequestState(RequestSettings(MoIConfig()), marks)
    again = [state.settings_after(array("q", prompt), output[:count]).policy for count in range(len(output) + 1)]
    assert again == policies(marks, prompt, output)
    relevant = [token for token in prompt + output if token in {marks.start, marks.end}]
    assert again[-1] == (0 if relevant and relevant[-1] == marks.end else 1)


@pytest.mark.parametrize(
    ("prompt", "mixed"),
    [
        ([1, 2], True),
        ([START, 1, END, 2, 3, START, 4], True),
        ([START, END, *range(1, 7), *range(1, 7)], False),
        ([END], False),
        ([START], True),
        ([], True),
    ],
)
def test_the_last_mark_of_the_prompt_counts(prompt: list[int], mixed: bool) -> None:
    state = RequestState(RequestSettings(MoIConfig()), Marks(END, START))
    assert state.settings_after(prompt, []).policy == int(mixed)


class Words:
    """A tokenizer of a few words; all else is two tokens."""

    def __init__(self, **words: int) -> None:
        self._words = words

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        return [self._words[text]] if text in self._words else [1, 2]


def scheduler(tokenizer: Any, think_end_ids: list[int] | None = None) -> Any:
    return SimpleNamespace(tokenizer=tokenizer, model_config=SimpleNamespace(think_end_ids=think_end_ids))


@pytest.mark.parametrize(
    ("until", "words", "marks"),
    [
        (THINK_END, {"<think>": START, "</think>": END}, Marks(END, START)),
        (THINK_END, {"</think>": END}, Marks(END, NO_TOKEN)),
        (END, {"<think>": START, "</think>": END}, Marks(END, NO_TOKEN)),
        (None, {"<think>": START, "</think>": END}, Marks()),
    ],
)
def test_the_marks_of_a_request(
    until: Any, words: dict[str, int], marks: Marks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moi_sglang.host.requests._serving", lambda: SimpleNamespace(reasoning_parser=None))
    settings = RequestSettings(MoIConfig(), until)
    assert marks_of(settings, lambda: host.marks(scheduler(Words(**words)))) == marks
    plain = RequestSettings(MoIConfig("token"), until)
    assert marks_of(plain, lambda: pytest.fail("what does not mix has no marks")) == Marks()


def test_an_end_of_several_tokens_or_no_tokenizer_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moi_sglang.host.requests._serving", lambda: SimpleNamespace(reasoning_parser=None))
    settings = RequestSettings(MoIConfig(), THINK_END)
    for tokenizer, ids in ((Words(), None), (None, None), (Words(), [4, 5])):
        with pytest.raises(ValueError, match="needs a model whose thinking ends with one token"):
            marks_of(settings, partial(host.marks, scheduler(tokenizer, ids)))
