"""TensorRT-LLM decodes whole prompts with its own command; here it is checked, and compared by `moi selftest`."""

from __future__ import annotations

from pathlib import Path

from moi_engines.parity import Cases, Output
from moi_engines.registry import EngineSpec, SelfTest


def _problems() -> list[str]:
    # It also says where TensorRT-LLM comes from: no extra of ours can bring it.
    from moi_tensorrt_llm.wrapper_checks import wrapper_problems

    return wrapper_problems()


def _decode(model: Path, cases: Cases) -> list[Output]:
    """Greedily, the cases' longest text for each."""
    from moi_tensorrt_llm.run import greedy

    prompts = [[int(token) for token in prompt] for prompt in cases.prompts]
    new_tokens = max(params.max_new_tokens for params in cases.sampling)
    return [Output(tokens) for tokens in greedy(model, prompts, list(cases.moi), new_tokens)]


SPEC = EngineSpec(
    "tensorrt_llm",
    None,
    instead="measured by TensorRT-LLM's own trtllm-bench; it has no engine here",
    problems=_problems,
    own_noise=True,
    in_process=False,
    selftest=SelfTest(greedy=True, isolated=True, decode=_decode),
)
