"""Letters of multiple choice, as chat models write them."""

from __future__ import annotations

import pytest

from moi_eval.choices import SEVERAL, choice

FORMS = ["{}", "({})", "Answer: {}", "**Answer**: {}", "**Answer: {}**", "answer: ({})"]
FORMS += ["Answer: ${}$", "Answer: `{}`"]
FORMS += [
    r"Answer: \text{{{}}}",
    r"\boxed{{\textbf{{({})}}}}",
    r"\boxed{{{}}}",
    r"\boxed{{\text{{Option {}}}}}",
    "Answer: [{}]",
]
FORMS += ["The correct answer is ({}).", "The answer is: {}", "So the answer must be {}."]
FORMS += ["### Final Answer\n\n**{}**"]
FORMS += [
    "the correct option is **{}**",
    "Answer: {}) text of it",
    "({}) is the correct answer",
    "I would pick option {}",
]
FORMS += [
    r"$$\boxed{{\mathrm{{{}}}}}$$",
    "Answer:\n\n{}",
    "Answer to the question is {}.",
    "Answer - {}",
    "__Answer:__ {}<|im_end|>",
]
AFTER = [
    "",
    "\n\nNote: the answer is a consequence of Hund's rule.",
    "\n\nI hope the answer is a help.",
    "\nOption A: no.\n",
]


@pytest.mark.parametrize("letter", "ABCD")
@pytest.mark.parametrize("form", FORMS)
def test_choices_are_read(form: str, letter: str) -> None:
    assert choice(form.format(letter)) == letter
    assert choice("The answer is A. No.\n<think>Answer: B</think>\n" + form.format(letter)) in (letter, "A")


@pytest.mark.parametrize("after", AFTER)
@pytest.mark.parametrize("answer", ["Answer: B", "The answer is (B).", r"\boxed{B}", "answer: b"])
def test_what_follows_an_answer_is_no_other(answer: str, after: str) -> None:
    assert choice(answer + after) == "B"


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("Answer: A\nWait. Answer: C", "C"),
        (r"\boxed{A}. No: the answer is D.", "D"),
        ("Answer: A or B", SEVERAL),
        (r"\boxed{A, B}", SEVERAL),
        ("Answer: B (because A is wrong)", "B"),
        ("Answer: A catalyst lowers the barrier", None),
        ("Answer: C-H bonds", None),
        ("the answer is a) x", "A"),
        ("<think>Answer: A", None),
        (r"<think>\boxed{A}", "A"),
        ("Answer: E", None),
        ("who knows", None),
        ("", None),
    ],
)
def test_hard_choices(text: str, letter: str | None) -> None:
    assert choice(text) == letter
