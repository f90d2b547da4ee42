"""The plugin in the real SGLang on a GPU: CUDA graphs, overlapped scheduling, several attention backends.

Needs a GPU and SGLang: pytest tests/gpu/test_sglang_graphs.py. With MOI_REHEARSE=1 the same runs on a CPU in float32,
without graphs: `python -m moi_bench.gpu --rehearse`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

from moi import PRESETS
from moi_engines.parity import TOLERANCES, Cases, Output, judge
from moi_engines.parity_reference import Reference

REHEARSED = os.environ.get("MOI_REHEARSE") == "1"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (torch.cuda.is_available() or REHEARSED), reason="captures CUDA graphs: needs a GPU"),
    pytest.mark.skipif(find_spec("sglang") is None, reason="needs SGLang"),
]

CHILD = Path(__file__).with_name("sglang_child.py")
# Widths that SGLang's kernels take.
SIZES = {
    "hidden_size": 256,
    "intermediate_size": 512,
    "head_dim": 64,
    "num_attention_heads": 4,
    "initializer_range": 0.04,
}
COMMON = {"sampling_backend": "pytorch", "grammar_backend": "none"}
ON_CPU = {"device": "cpu", "dtype": "float32", "attention_backend": "torch_native", "disable_cuda_graph": True}
ON_CPU |= {"max_total_tokens": 65536, "sleep_on_idle": True}


def decode(folder: Path, cases: Cases, options: dict[str, Any]) -> list[Output]:
    """What SGLang generates for all cases at once."""
    rows = [
        [prompt, asdict(sampling), moi.to_dict()]
        for prompt, sampling, moi in zip(cases.prompts, cases.sampling, cases.moi, strict=True)
    ]
    asked = {"folder": str(folder), "options": {**COMMON, **options, **(ON_CPU if REHEARSED else {})}, "rows": rows}
    env = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}  # that is for kernels' tests
    done = subprocess.run(
        [sys.executable, str(CHILD)], input=json.dumps(asked), env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-6000:]
    return [
        Output(each["token_ids"], each["finish_reason"], each["entropies"], each["interventions"])
        for each in json.loads(done.stdout.splitlines()[-1])
    ]


@pytest.mark.parametrize(
    ("architecture", "preset", "dtype", "attention", "prefill_graphs"),
    [
        ("qwen2", "official", "float32", "triton", False),
        ("qwen3", "official", "bfloat16", "fa3", False),
        ("gemma3", "paper", "float16", "triton", True),  # as SGLang has them by default
    ],
)
def test_all_policies_agree_with_the_reference(
    architecture: str,
    preset: str,
    dtype: str,
    attention: str,
    prefill_graphs: bool,
    random_model: Callable[..., Path],
    make_cases: Callable[..., Cases],
) -> None:
    """Ragged rows of all policies beside plain ones, more of them than the largest captured batch holds."""
    folder, config = random_model(architecture, **SIZES), PRESETS[preset]
    dtype, count, steps = ("float32", 1, 16) if REHEARSED else (dtype, 5, 64)
    shared = {"top_k": config.top_k, "entropy": config.entropy, "prior": config.prior}
    cases = make_cases(
        name=f"{architecture} {dtype}", count=count, steps=steps, continuous=dtype != "float32", **shared
    )
    # SGLang takes both filters of the same distribution, the torch engine one after the other.
    sampling = [
        replace(each, seed=row, top_k=each.top_k if each.top_p == 1 else 0) for row, each in enumerate(cases.sampling)
    ]
    cases = replace(cases, sampling=sampling, noise=None, own_noise=True)
    options = {"dtype": dtype, "attention_backend": attention, "disable_prefill_cuda_graph": not prefill_graphs}
    outputs = decode(folder, cases, options)
    found = judge(Reference(folder, weights=dtype), cases, outputs, TOLERANCES[dtype])
    assert found.agrees, str(found)
