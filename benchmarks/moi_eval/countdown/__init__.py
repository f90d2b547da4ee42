"""Countdown: reach a target from a few numbers. Problems, search traces, an exact verifier, and a trained model.

    problem = sample(random.Random(0), "held_out")     # Problem(numbers=(18, 7, 7), target=67)
    problem.prompt                                      # "18 7 7 > 67 :"
    is_solution(problem, "... ok ! 18 + ( 7 * 7 )")     # True

The model lies in `moi_engines/models/countdown`; `python -m moi_eval.countdown.train --out DIR` makes it anew.
"""

from moi_eval.countdown.problems import COUNTDOWN_3, COUNTDOWN_4, GAMES, Game, Problem, held_out, sample
from moi_eval.countdown.search import mean_chance
from moi_eval.countdown.traces import Search, trace
from moi_eval.countdown.verify import Diagnosis, diagnose, is_solution

__all__ = [
    "COUNTDOWN_3",
    "COUNTDOWN_4",
    "GAMES",
    "Diagnosis",
    "Game",
    "Problem",
    "Search",
    "diagnose",
    "held_out",
    "is_solution",
    "mean_chance",
    "sample",
    "trace",
]
