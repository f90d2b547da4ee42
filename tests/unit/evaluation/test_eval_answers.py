# ruff: noqa: RUF001
"""What a careful reader takes a text for: boxes, integers, choices, arithmetic; any text gets an outcome, in time."""

from __future__ import annotations

import importlib.util
import os
import threading
import time
from pathlib import Path

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from moi_eval import mathematics
from moi_eval.answers import last_box, parts
from moi_eval.choices import choice
from moi_eval.countdown import Problem
from moi_eval.integers import integer
from moi_eval.tasks.aime import AIMETask
from moi_eval.tasks.base import Item
from moi_eval.tasks.countdown import CountdownTask
from moi_eval.tasks.gpqa import GPQATask

WITH_MATHEMATICS = importlib.util.find_spec("math_verify") is not None
needs_mathematics = pytest.mark.skipif(not WITH_MATHEMATICS, reason="math-verify not installed")


@pytest.mark.parametrize(
    ("text", "box"),
    [
        (r"\boxed{1} then \boxed{2}", "2"),
        (r"\boxed{\frac{1}{2}^{\{a\}}}", r"\frac{1}{2}^{\{a\}}"),
        (r"\boxed {7}, \boxed{}", "7"),
        (r"\boxed{3} and \boxed{4", "3"),
        (r"\fbox{5}", "5"),
        (r"\boxed 42.", "42"),
        (r"\boxed{\boxed{6}}", "6"),
        (r"<think>\boxed{1}</think>\boxed{2}", "2"),
        (r"<think>\boxed{1}</think>that is it", "1"),
        (r"\boxed{2}<think>\boxed{1}", "2"),
        (r"\boxed{1}</think>\boxed{2}", "2"),
        ("none", None),
    ],
)
def test_the_last_box(text: str, box: str | None) -> None:
    assert last_box(text) == box


def test_thinking_may_reopen_and_stay_open() -> None:
    said, thought = parts("a</think>b<think>c</think>d<THINK>e")
    assert (said.split(), thought.split()) == (["b", "d"], ["a", "c", "e"])


PLAIN = [
    r"42",
    "042",
    "+42",
    r"\text{42}",
    r"\textbf{\mathrm{42}}",
    "{42}",
    "$42$",
    r"\(42\)",
    "42.",
    "42.0",
    r"42^\circ",
]
PLAIN += [
    r"42^{\circ}",
    "42°",
    r"42\%",
    "n = 42",
    r"m + n = 42",
    r"\angle ABC = 42^\circ",
    "x_{1}=42",
    r"\left(42\right)",
]
PLAIN += [
    r"\textcolor{red}{42}",
    r"\approx 42",
    "\uff14\uff12",
    r"\underline{42}",
    r"6 \cdot 7 = 42",
    "Answer: 42",
    "4\\!2",
]
NONE = [
    "4, 5",
    "4,5",
    "4 5",
    r"4 \quad 5",
    "a=4, b=5",
    r"4 \text{ and } 5",
    "4;5",
    r"4 \\ 5",
    "4\u00b2",
    "x+1",
    "",
    "forty-two",
]
NONE += [
    r"\frac{1}{2}",
    r"\{4, 5\}",
    "(4, 5)",
    r"\infty",
    r"\frac{1}{0}",
    "42 or 43",
    "1_000",
    r"x = 1 \text{ or } x = 2",
]
COMPUTED = {
    r"\frac{84}{2}": 42,
    "2^5": 32,
    r"\sqrt{16}": 4,
    "42 cm": 42,
    r"42\text{ cm}": 42,
    r"\binom{5}{2}": 10,
    "7-3": 4,
}
COMPUTED |= {"6!": 720, r"4\times10^1": 40, "7 = 3+4": 7, "042_{10}": 42}
GROUPED = {"1,024": 1024, "1{,}024": 1024, r"1\,024": 1024, "1 024": 1024, r"12\!,345": 12345}
GROUPED |= {"-5": -5, "\u22125": -5}


@pytest.mark.parametrize(("text", "value"), [*((text, 42) for text in PLAIN), *GROUPED.items()])
def test_plain_integers_are_read_here(text: str, value: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mathematics, "integer", lambda latex: pytest.fail(f"math-verify was asked for {latex}"))
    assert integer(text) == value


@needs_mathematics
@pytest.mark.parametrize(("text", "value"), [*((text, None) for text in NONE), *COMPUTED.items()])
def test_other_notations_are_read_by_math_verify(text: str, value: int | None) -> None:
    assert integer(text) == value


@needs_mathematics
@pytest.mark.parametrize(
    "text", [r"9^{9^{9^9}}", r"10^{10^{10}}", r"(10^{10})!", r"\binom{10^9}{10^8}", "{" * 10_000 + "1"]
)
def test_what_nobody_can_compute_ends_in_time_in_any_thread(text: str) -> None:
    found: list[int | None] = []
    thread = threading.Thread(target=lambda: found.append(integer(text)))
    start = time.monotonic()
    thread.start()
    thread.join(mathematics.SECONDS + 150)  # with the start of a process on a busy machine
    assert found == [None], f"after {time.monotonic() - start:.0f} s"
    assert integer(r"\frac{84}{2}") == 42, "the next one is read"


@pytest.mark.parametrize("module", ["raise ImportError('broken')", "import signal; signal.pause()"])
def test_a_library_that_does_not_start_is_one_line_and_leaves_no_process(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, module: str
) -> None:
    (tmp_path / "math_verify.py").write_text(module)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.setattr(mathematics, "find_spec", lambda name: name)
    monkeypatch.setattr(mathematics, "_worker", None)
    monkeypatch.setattr("moi_eval.worker.START_S", 2.0)
    before = {child.pid for child in psutil.Process().children()}
    with pytest.raises(RuntimeError, match="math-verify does not start, or does not read 1; pip install"):
        mathematics.integer(r"\frac{84}{2}")
    assert {child.pid for child in psutil.Process().children()} == before


@needs_mathematics
def test_a_process_that_was_ended_is_started_again_for_the_question() -> None:
    assert integer(r"\frac{84}{2}") == 42
    assert mathematics._worker is not None
    process = mathematics._worker._process
    assert process is not None
    process.kill()
    process.wait()
    assert integer(r"\frac{86}{2}") == 43


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mathematics, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install 'mixture-of-inputs\[eval\]'"):
        AIMETask(None, None, 0)  # type: ignore[arg-type]


SOLVED = [
    "6 × 4 × 1",
    "6 − 4 − 1",
    "6*4*1 = 24",
    "24 = 6*4*1",
    r"$6 \times 4 \times 1$",
    r"\(6 \cdot 4 \div 1\)",
    "(6)(4)(1)",
]
SOLVED += [
    "\uff086*4\uff09*1",
    "6 x 4 x 1",
    "6x4x1",
    "6·4·1.",
    "6∗4∗1",
    "**6*4*1**",
    "`6*4*1`",
    r"\boxed{6*4*1}",
    "[6*4]/1",
]
SOLVED += [
    "Expression: 6*4*1",
    r"\frac{6 \times 4}{1}",
    r"\left(6 \times 4\right) \div 1 = 24",
    "(6 * 4) * 1 = 24 * 1 = 24",
]
OTHERWISE = {"6*4": "wrong numbers", "6*4*1*1": "wrong numbers", "6*4/1 + 0": "wrong numbers"}
OTHERWISE |= {"6+4+1": "wrong value"}
OTHERWISE |= {"6**4*1": "malformed", "6²*4*1": "malformed", "6 4 1": "malformed", "6*4=24\n24*1=24": "malformed"}
OTHERWISE |= {"6/(1-1)": "division by zero", "": "malformed", "9" * 600: "malformed", "(" * 300: "malformed"}


@pytest.mark.parametrize(("text", "outcome"), [*((text, "solved") for text in SOLVED), *OTHERWISE.items()])
def test_arithmetic_of_chat_models(text: str, outcome: str) -> None:
    task = CountdownTask(3, 1, 0, chat=True)
    item = Item("x", "", Problem((6, 4, 1), 1 if "−" in text else 24))
    assert task.judge(item, f"<think><answer>0</answer></think> <answer>{text}</answer>").outcome == outcome
    assert task.judge(item, f"<answer>{text}").outcome == "no answer"


PIECES = [
    "\\boxed{",
    "}",
    "{",
    "\\",
    "\\text{",
    "answer",
    "Answer:",
    " is ",
    "(",
    "A",
    "B)",
    "<think>",
    "</think>",
    "<answer>",
]
PIECES += [
    "</answer>",
    "$",
    "**",
    "\n",
    " ",
    "=",
    "1",
    "42",
    "\\frac",
    "^",
    "\ud835",
    "\u2028",
    "\x00",
    ",",
    "or",
    "\\fbox{",
]
TEXTS = st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=4)), max_size=40).map("".join)


@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(TEXTS)
def test_any_text_has_an_outcome(text: str) -> None:
    assert GPQATask.judge(None, Item("x", "", "B"), text).outcome in (
        "solved",
        "wrong choice",
        "no answer",
        "malformed",
    )  # type: ignore[arg-type]
    outcomes = ("solved", "wrong value", "no answer", "malformed")
    if WITH_MATHEMATICS:
        assert AIMETask.judge(None, Item("x", "", 42), text).outcome in outcomes  # type: ignore[arg-type]
    CountdownTask(3, 1, 0, chat=True).judge(Item("x", "", Problem((6, 4, 1), 24)), f"<answer>{text}</answer>")


@pytest.mark.parametrize(
    "piece", [p for p in PIECES if p.strip()] + ["answer ", "Answer:\n", " \n", "(A) or ", "\\text{\\text{"]
)
def test_long_texts_take_linear_time(piece: str) -> None:
    text, start = piece * (200_000 // len(piece)), time.process_time()
    choice(text), last_box(text), parts(text)
    CountdownTask(3, 1, 0, chat=True).judge(Item("x", "", Problem((6, 4, 1), 24)), text)
    assert time.process_time() - start < 60, "quadratic time would be many minutes"
