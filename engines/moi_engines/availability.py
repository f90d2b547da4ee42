"""Which engines are usable here: what each imports, and what to install for it."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from importlib.util import find_spec


@dataclass(frozen=True)
class Backend:
    """What an engine needs: top-level modules, the extra that brings them, and a deeper check.

    check  "module:function" returning a list of problems, for hosts whose internals we hook
    """

    modules: tuple[str, ...]
    extra: str
    check: str | None = None

    def unavailable(self) -> str | None:
        """Why the engine cannot run and what to do about it, or None."""
        missing = [module for module in self.modules if find_spec(module) is None]
        if missing:
            return f"{', '.join(missing)} not installed; pip install 'mixture-of-inputs[{self.extra}]'"
        if self.check is None:
            return None
        module, function = self.check.split(":")
        problems: list[str] = getattr(importlib.import_module(module), function)()
        return "; ".join(problems) or None


BACKENDS: dict[str, Backend] = {
    "torch": Backend(("transformers", "tokenizers", "rich"), "engine"),
    "onnxruntime": Backend(("transformers", "onnxruntime"), "onnx"),
    "sglang": Backend(("sglang", "moi_sglang"), "sglang", check="moi_sglang.contract:check_contract"),
    "tensorrt": Backend(("tensorrt", "transformers"), "tensorrt", check="moi_compile.runtimes:check_tensorrt"),
    "tensorrt_rtx": Backend(
        ("tensorrt_rtx", "transformers"), "tensorrt-rtx", check="moi_compile.runtimes:check_tensorrt_rtx"
    ),
    # Its own check says where TensorRT-LLM comes from: no extra of ours can bring it.
    "tensorrt_llm": Backend((), "", check="moi_tensorrt_llm.contract:check_contract"),
}
