"""Countdown as an evaluation: problems made and answers checked here, for the model on board or a chat model."""

from __future__ import annotations

from moi_eval.arithmetic import arithmetic, last_answer
from moi_eval.countdown import GAMES, Problem, diagnose, held_out, mean_chance
from moi_eval.countdown.folder import MAX_NEW_TOKENS
from moi_eval.tasks.base import Item, Task, TaskOptions, Verdict

N = 200
# The paper's limit for CountDown; the model on board needs no more than it was trained for.
CHAT_NEW_TOKENS = 8192
_QUESTION = (
    "Using each of the numbers {numbers} exactly once and the operators + - * / with parentheses, write an expression "
    "that equals {target}. Put the expression alone between <answer> and </answer>."
)


class CountdownTask(Task):
    """`n` held-out problems over three or four numbers.

    chat  ask in English and read the answer from its last <answer>...</answer>; otherwise in the small model's language
    """

    name = "countdown"

    def __init__(self, numbers: int, n: int, seed: int, *, chat: bool) -> None:
        if numbers not in GAMES:
            raise ValueError(f"numbers={numbers} is not allowed; allowed: {', '.join(map(str, GAMES))}")
        self.problems = held_out(n, seed, GAMES[numbers])
        self.chat = chat
        super().__init__(
            [Item(problem.prompt, self._prompt(problem), problem) for problem in self.problems], seed, numbers=numbers
        )
        self.max_new_tokens = CHAT_NEW_TOKENS if chat else MAX_NEW_TOKENS

    @classmethod
    def from_options(cls, options: TaskOptions) -> CountdownTask:
        """See `Task.from_options`."""
        if options.data is not None:
            raise ValueError(f"--data {options.data} is not allowed; countdown makes its own problems")
        return cls(options.numbers, N if options.n is None else options.n, options.seed, chat=options.chat)

    def judge(self, item: Item, text: str) -> Verdict:
        """See `Task.judge`: exact arithmetic."""
        if self.chat:
            answer = last_answer(text)
            if answer is None:
                return Verdict(False, "no answer")
            text = f"! {arithmetic(answer)}"
        outcome = diagnose(item.answer, text).outcome
        return Verdict(outcome == "solved", outcome)

    def baseline(self, max_new_tokens: int) -> tuple[str, float] | None:
        """See `Task.baseline`: random legal search of the same length."""
        if self.chat:  # tokens of a chat model are not those of the search
            return None
        return "random legal search of the same length", mean_chance(self.problems, max_new_tokens)

    def _prompt(self, problem: Problem) -> str:
        if not self.chat:
            return problem.prompt
        return _QUESTION.format(numbers=", ".join(map(str, problem.numbers)), target=problem.target)
