"""Run by test_sglang_graphs.py in a process of its own: the sglang engine on a GPU, with CUDA graphs. Prints JSON.

python sglang_child.py < {"folder", "options", "rows": [[prompt, sampling, moi], ...]}
"""

import json
import sys
from dataclasses import asdict
from typing import Any

from moi import MoIConfig
from moi_engines import SamplingParams, load_engine

ROOM = {
    "device": "cuda",
    "mem_fraction_static": 0.3,
    "max_running_requests": 64,
    "cuda_graph_max_bs_decode": 64,
    "random_seed": 0,
}


def main(asked: dict[str, Any]) -> None:
    engine = load_engine("sglang", asked["folder"], **{**ROOM, **asked["options"]})
    prompts, sampling, moi = zip(*asked["rows"], strict=True)
    outputs = engine.generate(
        prompts, [SamplingParams(**each) for each in sampling], [MoIConfig.from_dict(each) for each in moi]
    )
    engine.close()
    sys.stdout.write("\n" + json.dumps([asdict(output) for output in outputs]) + "\n")


if __name__ == "__main__":
    main(json.load(sys.stdin))
