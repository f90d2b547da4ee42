"""Run by test_vllm_guards.py in vLLM's environment: vLLM as a library, in this very process, whose guards can be taken
out one by one. Prints one JSON object.

    library_child.py MODEL CASES.json     cases: lists of prompts by what is done with them
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

        flags: dict[str, Any] = {
            **{"dtype": "float32", "enforce_eager": True, "block_size": 32, "seed": 0, "disable_log_stats": False},
            **{"max_model_len": 192, "max_num_seqs": 8, "max_num_batched_tokens": 32, "num_gpu_blocks_override": 12},
            **{"kv_cache_memory_bytes": 64 << 20, "additional_config": {"moi": {"policy": "token"}}},
        }
        self.llm = LLM(model, **flags)

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
    """Plain requests of all KINDS in one batch, with as many greedy ones; `beside`: settings of those, which mix."""
    from vllm import SamplingParams

    common = {"max_tokens": 24, "ignore_eos": True}
    sampling = [SamplingParams(**{"temperature": 0, **kind, **common}) for kind in KINDS]
    sampling += [SamplingParams(temperature=0, extra_args=beside, **common)] * len(KINDS)
    assert run.llm.reset_prefix_cache()
    asked = [{"prompt_token_ids": prompt} for prompt in prompts]
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


def prefix_cache(run: Library, prompts: list[list[int]], guard: str) -> list[dict[str, Any]]:
    """Mixed requests, then plain ones over their answers, once where they may be cached and once where they are not."""
    settings = {"beta": 1.0, "per_token": 1}
    with without(guard):
        mixed = run(prompts, settings)
        longer = [prompt + each["token_ids"][: TOKENS - 4] for prompt, each in zip(prompts, mixed, strict=True)]
        after = run(longer, None, fresh=False, tokens=8, logprobs=1)
        again = run(prompts, settings, fresh=False)
        wanted = run(longer, None, tokens=8, logprobs=1)
    names = ("mixed", "after", "again", "wanted")
    return [dict(zip(names, each, strict=True)) for each in zip(mixed, after, again, wanted, strict=True)]


def pressed(run: Library, prompts: list[list[int]], guard: str) -> dict[str, Any]:
    """More text than there is memory for: requests are preempted, and prefilled again."""
    before = run.preemptions()
    with without(guard):
        outputs = run(prompts, {"beta": 2.0, "per_token": 1}, tokens=64)
    return {"outputs": outputs, "preemptions": run.preemptions() - before}


def chunked(run: Library, prompts: list[list[int]], guard: str) -> dict[str, Any]:
    """Mixing that stops at the very token that the first chunk of the prompt would be followed by; of the first prompt
    that does not hold it. Another request, of three tokens, generates in that step: there are rows to store."""
    following = run([prompt[:29] for prompt in prompts], None, tokens=1)
    first = [each["token_ids"][0] for each in following]
    stop, prompt = next((token, prompt) for token, prompt in zip(first, prompts, strict=True) if token not in prompt)
    with without(guard):
        _, output = run([[5, 6, 7], prompt], {"beta": 1.0, "until": stop, "per_token": 1}, tokens=24)
    return {"stop": stop, "output": output}


def reset(run: Library, prompts: list[list[int]], guard: str) -> dict[str, Any]:
    """Two resets while requests are decoded: what is under way is dropped and sampled anew. Also which calls cut rows
    off; `guard`: they do not."""
    from vllm import SamplingParams

    from moi_serving.replay import RequestState

    engine, cuts, truncate = run.llm.llm_engine, list[bool](), RequestState.truncate

    def cut(state: RequestState, length: int) -> None:
        cuts.append(length < len(state))
        if not guard:
            truncate(state, length)

    extra = {"moi_beta": 2.0, "moi_per_token": 1}
    params = SamplingParams(temperature=0, max_tokens=TOKENS, ignore_eos=True, extra_args=extra)
    for index, prompt in enumerate(prompts):
        engine.add_request(f"reset{guard}{index}", {"prompt_token_ids": prompt}, params)
    outputs, steps = {}, 0
    with mock.patch.object(RequestState, "truncate", cut):
        while engine.has_unfinished_requests():
            outputs.update({each.request_id: each for each in engine.step()})
            steps += 1
            if steps in (12, 20):
                assert engine.reset_prefix_cache(reset_running_requests=True)
    return {"outputs": [described(outputs[each]) for each in sorted(outputs)], "cut": sum(cuts)}


def left_behind(run: Library) -> dict[str, int]:
    """What the worker still holds of requests that have ended."""
    run([[5, 6, 7]], None, tokens=1)
    core = run.llm.llm_engine.engine_core.engine_core
    runtime = core.model_executor.driver_worker.worker.model_runner.model_state.moi
    return {"states": len(runtime.states), "replaying": len(runtime.replaying), "steps": len(runtime.steps)}


def main(model: str, cases: dict[str, Any]) -> None:
    run = Library(model)
    if os.environ["VLLM_PLUGINS"] != "moi":
        told = {"plain": plain(run, cases["plain"], None)}
    else:
        told = {
            "plain": plain(run, cases["plain"], None),
            "beside": plain(run, cases["plain"], {"moi_beta": 0.25}),
            "async": run.llm.llm_engine.vllm_config.scheduler_config.async_scheduling,
            **{f"cache {guard}": prefix_cache(run, cases["cached"], guard) for guard in ("", "keys")},
            **{f"pressed {guard}": pressed(run, cases["pressed"], guard) for guard in ("", "replay")},
            **{f"chunked {guard}": chunked(run, cases["chunks"], guard) for guard in ("", "chunks")},
            **{f"reset {guard}": reset(run, cases["reset"], guard) for guard in ("", "cut")},
        }
        with without("rows"):
            told["no rows"] = run([[5, 6, 7]], {"beta": 1.0}, tokens=8)
        told["plain after"] = run([[5, 6, 7]], None, tokens=8)
        told["left behind"] = left_behind(run)
    sys.stdout.write("\n" + json.dumps(told) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], json.loads(Path(sys.argv[2]).read_text()))
