"""Run by test_vllm_engine.py in vLLM's environment: what the engine of a small model does. Prints one JSON object.

engine_child.py TINY MODEL CASES.json SCRATCH     cases: {"prompts": ids, "moi": settings, "tokens": n}
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"

SIZES: dict[str, Any] = {"max_num_batched_tokens": 64, "max_num_seqs": 8, "max_model_len": 256, "block_size": 32}


def streams_at_once(engine: Any, prompts: list[list[int]], sampling: Any, moi: Any) -> list[list[dict[str, Any]]]:
    """Events of a mixed stream and of a plain one, in turn; two more, of each the first alone is taken, are closed."""
    from moi import MoIConfig

    def streams() -> tuple[Any, Any]:
        plain = engine.plain().stream(prompts, sampling, MoIConfig("token"))
        return engine.stream(prompts, sampling, moi), plain

    kept, turns = streams(), []
    for closed in streams():
        next(closed)
        turns.append([next(stream) for stream in kept])
        closed.close()
    turns.extend(zip(*kept, strict=True))
    return [[asdict(turn[side]) for turn in turns] for side in (0, 1)]


def main(tiny: str, folder: str, cases: dict[str, Any], scratch: str) -> None:
    from moi import MoIConfig
    from moi_engines import SamplingParams, load_engine
    from moi_engines.commands.doctor import diagnose
    from moi_engines.selfcheck import check_backend

    report: dict[str, Any] = {"doctor": diagnose()["engines"]["vllm"]}
    report["selftest"] = check_backend("vllm", Path(tiny), Path(scratch)).to_dict()
    engine: Any = load_engine("vllm", folder, **SIZES)
    greedy = SamplingParams(temperature=0, max_new_tokens=cases["tokens"], ignore_eos=True)
    moi = [MoIConfig.from_dict(each) for each in cases["moi"]]
    report["outputs"] = [asdict(each) for each in engine.generate(cases["prompts"], greedy, moi)]
    short = SamplingParams(temperature=0, max_new_tokens=12, ignore_eos=True)
    report["events"] = [asdict(each) for each in engine.stream(cases["prompts"][:1], short, moi[:1])]
    report["both"] = streams_at_once(engine, cases["prompts"][:1], short, moi[0])
    alone = cases["prompts"][:1], moi[:1]
    engine.generate(alone[0], short, alone[1])  # whose prompt is then cached for both that follow: they round alike
    text = engine.generate(alone[0], short, alone[1])[0].text  # it may begin with the same three characters
    stop = next((part for part in (text[at : at + 3] for at in range(6, 0, -1)) if text.find(part) > 0), text[6:9])
    stopped = engine.generate(alone[0], replace(short, stop=(stop,)), alone[1])[0]
    report.update(whole=text, stop=stop, stopped=asdict(stopped))
    told = []
    for given in ({"moi": MoIConfig(top_k=5)}, {"moi": MoIConfig("token"), "noise": [[0.5] * 12] * 2}):
        try:
            engine.generate(cases["prompts"][:2], short, **given)
        except ValueError as error:
            told.append(str(error))
    try:
        engine.plain().generate(cases["prompts"][:1], short, moi[0])
    except ValueError as error:
        told.append(str(error))
    report["plain"] = [
        asdict(each) for each in engine.plain().generate(cases["prompts"][:1], short, MoIConfig("token"))
    ]
    report["told"] = told
    engine.close()
    sys.stdout.write("\n" + json.dumps(report) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], json.loads(Path(sys.argv[3]).read_text()), sys.argv[4])
