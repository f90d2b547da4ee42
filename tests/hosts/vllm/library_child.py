"""Run by test_vllm_guards.py in vLLM's environment: vLLM as a library, in this very process, whose guards can be taken
out one by one. Prints one JSON object.

    library_child.py MODEL CASES.json     cases: {"plain": prompts, "pressed": prompts, "prompt": ids}
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"

TOKENS = 32
Outputs = list[dict[str, Any]]


class Library:
    def __init__(self, model: str) -> None:
        from vllm import LLM

        self.llm = LLM(
            model,
            **{"dtype": "float32", "enforce_eager": True, "block_size": 32, "seed": 0, "disable_log_stats": False},
            **{"max_model_len": 192, "max_num_seqs": 8, "max_num_batched_tokens": 32, "num_gpu_blocks_override": 12},
            kv_cache_memory_bytes=64 << 20,
            additional_config={"moi": {"policy": "token"}},
        )

    def __call__(
        self, prompts: list[list[int]], settings: Any = None, fresh: bool = True, tokens: int = TOKENS, **params: Any
    ) -> Outputs:
        """Outputs of the prompts, all with these settings; `fresh`: on an empty prefix cache."""
        from vllm import SamplingParams

        if fresh:
            assert self.llm.reset_prefix_cache()
        extra = None if settings is None else {f"moi_{key}": value for key, value in settings.items()}
        sampling = SamplingParams(
            **{"temperature": 0, "max_tokens": tokens, "ignore_eos": True, **params}, extra_args=extra
        )
        asked = [{"prompt_token_ids": prompt} for prompt in prompts]
        return [described(each) for each in self.llm.generate(asked, sampling, use_tqdm=False)]

    def preemptions(self) -> int:
        return sum(each.value for each in self.llm.get_metrics() if each.name == "vllm:num_preemptions")


def described(output: Any) -> dict[str, Any]:
    choice = output.outputs[0]
    logprobs = choice.logprobs and [{str(k): v.logprob for k, v in each.items()} for each in choice.logprobs]
    return {
        "token_ids": list(choice.token_ids),
        "finish_reason": choice.finish_reason,
        "logprobs": logprobs,
        "cached": output.num_cached_tokens,
        "moi": ((output.kv_transfer_params or {}).get("moi") or [None])[0],
    }


KINDS: list[dict[str, Any]] = [
    {"logprobs": 3},
    {"temperature": 0.8, "seed": 3, "logprobs": 2},
    {"temperature": 1.0, "top_p": 0.9, "seed": 4, "repetition_penalty": 1.2, "logprobs": 1},
    {"temperature": 0.7, "top_k": 5, "seed": 5, "logit_bias": {70: 2.0}, "logprobs": 1},
]


def plain(run: Library, prompts: list[list[int]], beside: Any) -> Outputs:
    """Plain requests of all KINDS in one batch; `beside`: settings of as many that mix."""
    from vllm import SamplingParams

    common = {"max_tokens": 24, "ignore_eos": True}
    sampling = [SamplingParams(**{"temperature": 0, **kind, **common}) for kind in KINDS]
    if beside is not None:
        sampling += [SamplingParams(temperature=0, extra_args=beside, **common)] * len(KINDS)
    assert run.llm.reset_prefix_cache()
    asked = [{"prompt_token_ids": prompt} for prompt in prompts[: len(sampling)]]
    return [described(each) for each in run.llm.generate(asked, sampling, use_tqdm=False)][: len(KINDS)]


@contextlib.contextmanager
def without(guard: str) -> Iterator[None]:
    """A guard of the plugin taken out, or none for ""."""
    import numpy as np

    from moi_vllm import mixing, sampling, scheduling, transfer

    nothing = np.empty(0, np.int64), np.empty((0, 0), np.int32)
    taken_out = {
        "keys": mock.patch.object(scheduling.host, "prompt_length", return_value=1 << 30),
        "replay": mock.patch.object(mixing, "again", return_value=nothing),
        "chunks": mock.patch.object(sampling.Sampling, "_stored_in", lambda self, batch, chunks: batch.idx_mapping),
        "rows": mock.patch.object(transfer.host, "report", return_value=None),
        "": contextlib.nullcontext(),
    }
    with taken_out[guard]:
        yield


def prefix_cache(run: Library, prompt: list[int], guard: str) -> dict[str, Any]:
    """A mixed request, then a plain one over its answer, once where it may be cached and once where it is not."""
    with without(guard):
        (mixed,) = run([prompt], {"beta": 2.0, "per_token": 1})
        longer = prompt + mixed["token_ids"][: TOKENS - 4]
        (after,) = run([longer], None, fresh=False, tokens=8, logprobs=1)
        (again,) = run([prompt], {"beta": 2.0, "per_token": 1}, fresh=False)
        (wanted,) = run([longer], None, tokens=8, logprobs=1)
    return {"mixed": mixed, "after": after, "again": again, "wanted": wanted}


def pressed(run: Library, prompts: list[list[int]], guard: str) -> dict[str, Any]:
    """More text than there is memory for: requests are preempted, and prefilled again."""
    before = run.preemptions()
    with without(guard):
        outputs = run(prompts, {"beta": 2.0, "per_token": 1}, tokens=64)
    return {"outputs": outputs, "preemptions": run.preemptions() - before}


def chunked(run: Library, prompt: list[int], guard: str) -> dict[str, Any]:
    """Mixing that stops at the very token that the first chunk of the prompt would be followed by. Another request,
    of three tokens, generates in that step: there are rows to store."""
    (first,) = run([prompt[:29]], None, tokens=1)
    stop = first["token_ids"][0]
    with without(guard):
        _, output = run([[5, 6, 7], prompt], {"beta": 1.0, "until": stop, "per_token": 1}, tokens=24)
    return {"stop": stop, "output": output}


def left_behind(run: Library) -> dict[str, int]:
    """What the worker still holds of requests that have ended."""
    run([[5, 6, 7]], None, tokens=1)
    core = run.llm.llm_engine.engine_core.engine_core
    runtime = core.model_executor.driver_worker.worker.model_runner.model_state.moi
    return {"states": len(runtime.states), "replaying": len(runtime.replaying), "steps": len(runtime.steps)}


def main(model: str, cases: dict[str, Any]) -> None:
    run = Library(model)
    if os.environ["VLLM_PLUGINS"] != "moi":
        told: dict[str, Any] = {"plain": plain(run, cases["plain"], None)}
    else:
        told = {
            "plain": plain(run, cases["plain"], None),
            "beside": plain(run, cases["plain"], {"moi_beta": 0.25}),
            "async": run.llm.llm_engine.vllm_config.scheduler_config.async_scheduling,
            **{f"cache {guard}": prefix_cache(run, cases["prompt"], guard) for guard in ("", "keys")},
            **{f"pressed {guard}": pressed(run, cases["pressed"], guard) for guard in ("", "replay")},
            **{f"chunked {guard}": chunked(run, cases["prompt"], guard) for guard in ("", "chunks")},
        }
        with without("rows"):
            told["no rows"] = run([[5, 6, 7]], {"beta": 1.0}, tokens=8)
        told["plain after"] = run([[5, 6, 7]], None, tokens=8)
        told["left behind"] = left_behind(run)
    sys.stdout.write("\n" + json.dumps(told) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], json.loads(Path(sys.argv[2]).read_text()))
