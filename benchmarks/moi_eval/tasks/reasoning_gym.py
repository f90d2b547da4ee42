"""rg:NAME, a generator of the reasoning-gym package: problems are made, not downloaded; its verifiers judge."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

from moi_eval.answers import last_box, parts
from moi_eval.arithmetic import last_answer
from moi_eval.tasks.base import Item, Task, TaskOptions, Verdict
from moi_eval.worker import Worker

N = 200
SECONDS = 20.0  # for one verdict
_ASK = "\n\nThink step by step, then write the final answer alone between <answer> and </answer>."


class ReasoningGymTask(Task):
    """`n` problems of the generator `variant`, of the seed given; `config` are the generator's own settings.

    A text is solved if its last <answer>...</answer>, or where it has none its last box, scores 1; there is no partial
    credit.
    """

    name = "rg"
    max_new_tokens = 4096
    takes = ("variant", "config")

    def __init__(self, variant: str, n: int, seed: int, config: Mapping[str, Any]) -> None:
        if find_spec("reasoning_gym") is None:
            raise ImportError("reasoning-gym is not installed; pip install 'mixture-of-inputs[gym]'")
        if n < 1:
            raise ValueError(f"n={n} is not allowed; it must be an integer >= 1")
        self._worker = Worker("moi_eval.gym_worker", {"name": variant, "config": {**config, "size": n, "seed": seed}})
        made = self._worker.start()
        if "error" in made:
            self._worker.stop()
            raise ValueError(made["error"])
        items = [
            Item(f"{variant}/{index}", question + _ASK, (index, answer))
            for index, (question, answer) in enumerate(made["problems"])
        ]
        more = {"variant": variant, "config": dict(config), "reasoning_gym": version("reasoning-gym")}
        super().__init__(items, seed, **more)
        self.settings["name"] = f"rg:{variant}"

    @classmethod
    def from_options(cls, options: TaskOptions) -> ReasoningGymTask:
        """See `Task.from_options`."""
        if options.data is not None:
            raise ValueError(f"--data {options.data} is not allowed; reasoning-gym makes its own problems")
        if not options.variant:
            raise ValueError("rg needs the name of a generator, such as rg:gsm_symbolic")
        for key in ("size", "seed"):
            if key in options.config:
                raise ValueError(f"--task-config {key}={options.config[key]} is not allowed; use --n and --seed")
        return cls(options.variant, N if options.n is None else options.n, options.seed, options.config)

    def judge(self, item: Item, text: str) -> Verdict:
        """See `Task.judge`: by the generator's verifier, in another process; too long is wrong."""
        answer = _stated(text)
        if answer is None:
            return Verdict(False, "no answer")
        answer = answer.strip()
        score = self._worker.ask({"index": item.answer[0], "answer": answer}, SECONDS)
        if score is None:
            return Verdict(False, "not judged in time", answer)
        return Verdict(score == 1, "solved" if score == 1 else "wrong value", answer)


def _stated(text: str) -> str | None:
    """Of what is said, or else of what is thought; many models are trained to box what they answer, whatever they are
    asked for."""
    for part in parts(text):
        answer = last_answer(part)
        answer = last_box(part) if answer is None else answer
        if answer is not None:
            return answer
    return None
