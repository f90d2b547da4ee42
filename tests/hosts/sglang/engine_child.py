"""Run by test_sglang_engine.py in a process of its own: the sglang engine on a model folder. Prints one JSON object."""

import json
import sys
from dataclasses import asdict, replace
from typing import Any

from moi import MoIConfig
from moi_engines import SamplingParams, load_engine

PROMPTS: list[Any] = ["18 7 7 > 67 :", [5, 6, 7, 8]]
CONFIGS = [MoIConfig(beta=2.0), MoIConfig(policy="token")]
GREEDY = SamplingParams(temperature=0, max_new_tokens=32, ignore_eos=True)


def main(folder: str) -> None:
    engine: Any = load_engine("sglang", folder, max_total_tokens=8192, random_seed=0)
    told = []
    try:
        engine.generate(PROMPTS, GREEDY, CONFIGS, noise=[[0.5] * 32] * 2)
    except ValueError as error:
        told.append(str(error))
    outputs = [asdict(output) for output in engine.generate(PROMPTS, GREEDY, CONFIGS)]
    events = [asdict(event) for event in engine.stream(PROMPTS, GREEDY, CONFIGS)]
    whole = engine.generate(PROMPTS[:1], GREEDY, CONFIGS[:1])[0].text
    stop = whole[6:9]
    stopped = asdict(engine.generate(PROMPTS[:1], replace(GREEDY, stop=(stop,)), CONFIGS[:1])[0])
    try:
        engine.generate(PROMPTS, GREEDY, MoIConfig(top_k=5))
    except ValueError as error:
        told.append(str(error))
    plain = [asdict(output) for output in engine.plain().generate(PROMPTS, GREEDY, CONFIGS[1])]
    try:
        engine.plain().generate(PROMPTS, GREEDY, CONFIGS)
    except ValueError as error:
        told.append(str(error))
    engine.close()
    report = {"plain": plain, "outputs": outputs, "events": events, "told": told}
    report.update(whole=whole, stop=stop, stopped=stopped)
    sys.stdout.write("\n" + json.dumps(report) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
