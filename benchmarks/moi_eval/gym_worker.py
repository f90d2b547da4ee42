"""reasoning-gym in a process of its own: its verifiers compute with what a model wrote."""

from __future__ import annotations

import dataclasses
from typing import Any

from moi_eval.worker import serve


class Gym:
    """Answers {"name", "config"} with {"problems": [[question, answer], ...]} or {"error"}, then {"index", "answer"}
    with the score in 0..1.
    """

    def __init__(self) -> None:
        self._dataset: Any = None
        self._entries: list[dict[str, Any]] = []

    def answer(self, question: dict[str, Any]) -> Any:
        """See `Worker`."""
        if self._dataset is None:
            return self._make(question["name"], question["config"])
        try:
            score = float(self._dataset.score_answer(question["answer"], self._entries[question["index"]]))
        except Exception:  # whatever a model's text makes of a verifier: it is no answer
            return 0.0
        return score if 0 <= score <= 1 else 0.0

    def _make(self, name: str, config: dict[str, Any]) -> dict[str, Any]:
        from reasoning_gym.factory import DATASETS

        if name not in DATASETS:
            return {"error": f"rg:{name} is unknown; allowed: {', '.join(sorted(DATASETS))}"}
        make, settings = DATASETS[name]
        fields = [field.name for field in dataclasses.fields(settings) if field.name not in ("seed", "size")]
        for key in config:
            if key not in (*fields, "seed", "size"):  # these two are --seed and --n
                return {"error": f"--task-config {key} is none of rg:{name}; allowed: {', '.join(fields)}"}
        try:
            made = settings(**config)
            made.validate()
            self._dataset = make(config=made)
            self._entries = [self._dataset[index] for index in range(config["size"])]
        except Exception as error:  # each generator has its own way to say no
            self._dataset = None
            given = ", ".join(f"{key}={value!r}" for key, value in config.items())
            return {"error": f"rg:{name} does not take {given}: {error or type(error).__name__}"}
        return {"problems": [[str(entry["question"]), str(entry["answer"])] for entry in self._entries]}


if __name__ == "__main__":
    serve(Gym().answer)
