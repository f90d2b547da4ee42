"""Compare two settings on the same problems and the same noise, with the interval of the difference.

pip install 'mixture-of-inputs[engine,cpu,eval]'
python examples/evaluate.py [--problems N] [--model FOLDER]

`moi eval countdown --out results.jsonl` does this with a journal that goes on after Ctrl-C, more tasks and a report.
"""

import argparse

from moi import MoIConfig
from moi_engines import Engine, SamplingParams, embedded_model, load_engine
from moi_eval.countdown import Problem, held_out, is_solution
from moi_eval.intervals import wilson
from moi_eval.stats import difference_interval, sign_flip_p

SETTINGS = MoIConfig("token"), MoIConfig(beta=1.0)


def solved(engine: Engine, problems: list[Problem], config: MoIConfig) -> list[bool]:
    """Whether each problem was solved, one sample each at temperature 1."""
    sampling = SamplingParams(temperature=1.0, seed=0, max_new_tokens=170)
    outputs = engine.generate([problem.prompt for problem in problems], sampling, config)
    return [is_solution(problem, out.text) for problem, out in zip(problems, outputs, strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=embedded_model(), help="default: the Countdown solver that is installed")
    parser.add_argument("--problems", type=int, default=100, metavar="N", help="held out of its training")
    args = parser.parse_args()

    engine, problems = load_engine("torch", args.model), held_out(args.problems)
    plain, mixed = (solved(engine, problems, config) for config in SETTINGS)
    for config, marks in zip(SETTINGS, (plain, mixed), strict=True):
        low, high = wilson(sum(marks), len(marks))
        print(f"{config.policy:>6}: {sum(marks)} of {len(marks)} solved, {low:.1%} to {high:.1%}")
    differences = [int(after) - int(before) for before, after in zip(plain, mixed, strict=True)]
    mean, low, high = difference_interval(differences, samples=1)
    print(f"difference: {mean:+.1%}, 95 % interval {low:+.1%} to {high:+.1%}, p {sign_flip_p(differences):.2f}")
    print("The interval holds 0: they cannot be told apart." if low <= 0 <= high else "The interval leaves out 0.")


if __name__ == "__main__":
    main()
