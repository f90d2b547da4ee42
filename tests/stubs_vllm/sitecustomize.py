"""Stand-ins for what Triton's interpreter cannot run of vLLM, put in place as vLLM's modules are imported.

For tests alone: vLLM's Model Runner V2 wants a Triton that compiles for the device it runs on, and no package has one
for CPUs. MOI_TEST_ASYNC=1 keeps asynchronous scheduling on, which vLLM turns off on CPUs.
"""

from __future__ import annotations

import gc
import importlib.abc
import importlib.util
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

gc.set_threshold(100_000, 50, 50)  # imports make modules, not cycles: they need a fifth of their time less

import torch  # noqa: E402


def torch_top_k_top_p(module: Any) -> None:
    """vLLM's own version for CPUs, instead of its kernel."""
    original = module.apply_top_k_top_p_pytorch
    module.apply_top_k_top_p = lambda logits, k, p, **_: logits if k is None and p is None else original(logits, k, p)


def torch_grammar_mask(module: Any) -> None:
    """The kernel that masks what a grammar forbids: bit i of a row's words says whether token i is allowed."""

    def mask(
        logits: Any, _: int, rows: Any, offsets: Any, words: Any, __: int, vocab: int, MASK_STRIDE: int, **___: Any
    ) -> None:
        allowed = ((words.unsqueeze(-1) >> torch.arange(32)) & 1).flatten(1)[:, :vocab].bool()
        for row, place in zip(allowed, rows.tolist(), strict=False):
            logits[int(offsets[place // MASK_STRIDE]) + place % MASK_STRIDE].masked_fill_(~row, -torch.inf)

    class Kernel:
        def __getitem__(self, grid: Any) -> Callable[..., None]:
            return mask

    module._apply_grammar_bitmask_kernel = Kernel()


def asynchronous(module: Any) -> None:
    """Scheduling as it was asked for."""
    original = module.CpuPlatform.check_and_update_config.__func__

    def checked(cls: Any, vllm_config: Any) -> None:
        wanted = vllm_config.scheduler_config.async_scheduling
        original(cls, vllm_config)
        if os.environ.get("MOI_TEST_ASYNC") == "1":
            vllm_config.scheduler_config.async_scheduling = wanted

    module.CpuPlatform.check_and_update_config = classmethod(checked)


def patient_ranks(module: Any) -> None:
    """Readers of another process's messages wait at once: for a second they would look for the next one, on the cores
    that the process needs to write it."""
    module.SpinCondition.__init__.__defaults__ = (0.0,)


def quick_interpreter(module: Any) -> None:
    """Without a check of vLLM's integers for overflow, and as in `tests/helpers/quick_interpreter.py`."""
    module.interpreter_builder.options = replace(module.interpreter_builder.options, sanitize_overflow=False)
    sys.path.append(str(Path(__file__).parents[1] / "helpers"))
    from quick_interpreter import patch_once

    sys.path.pop()
    patch_once(module)


STAND_INS: dict[str, Callable[[Any], None]] = {
    "vllm.v1.sample.ops.topk_topp_sampler": torch_top_k_top_p,
    "vllm.v1.worker.gpu.structured_outputs": torch_grammar_mask,
    "vllm.platforms.cpu": asynchronous,
    "vllm.distributed.device_communicators.shm_broadcast": patient_ranks,
    "triton.runtime.interpreter": quick_interpreter,
}


class Finder(importlib.abc.MetaPathFinder):
    """Runs the stand-in of a module behind the module's own code."""

    def find_spec(self, name: str, path: Any = None, target: ModuleType | None = None) -> Any:
        if name not in STAND_INS:
            return None
        sys.meta_path.remove(self)
        try:
            spec = importlib.util.find_spec(name)
        finally:
            sys.meta_path.insert(0, self)
        if spec is None or spec.loader is None:
            return None
        own = spec.loader.exec_module

        def executed(module: ModuleType) -> None:
            own(module)
            STAND_INS[name](module)

        spec.loader.exec_module = executed  # type: ignore[method-assign]
        return spec


sys.meta_path.insert(0, Finder())
