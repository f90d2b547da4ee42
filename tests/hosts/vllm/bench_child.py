"""Run by test_vllm_bench.py in vLLM's environment: `moi bench serve`, and what its server answers to further requests
before it is timed, and says of itself then. Prints one JSON object.

bench_child.py BODIES.json ARGUMENT...     of completions that are asked for at the same time; of `moi bench serve`
"""

from __future__ import annotations

import json
import sys
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

from moi.cli import main
from moi_bench import serve
from moi_bench.server import post
from moi_engines import ENGINES


def run(bodies: list[dict[str, Any]], argv: list[str]) -> dict[str, Any]:
    told, check = dict[str, Any](), serve.check

    def check_and_ask(engine: str, url: str, model: Path) -> None:
        check(engine, url, model)
        with ThreadPoolExecutor(len(bodies)) as threads:
            told["answers"] = list(threads.map(lambda body: post(f"{url}/v1/completions", body), bodies))
        with urllib.request.urlopen(f"{url}/metrics", timeout=60) as metrics:
            told["metrics"] = metrics.read().decode()

    # What is installed was looked through for test_vllm_engine.py, which takes a while.
    looked_through = {"vllm": replace(ENGINES["vllm"], problems=list)}
    with mock.patch.object(serve, "check", check_and_ask), mock.patch.dict(ENGINES.loaded, looked_through):
        told["status"] = main(["bench", "serve", *argv])
    return told


if __name__ == "__main__":
    found = run(json.loads(Path(sys.argv[1]).read_text()), sys.argv[2:])
    sys.stdout.write("\n" + json.dumps(found) + "\n")
