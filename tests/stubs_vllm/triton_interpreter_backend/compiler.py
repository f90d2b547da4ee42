from typing import Any

from triton.backends.compiler import BaseBackend


class InterpretedBackend(BaseBackend):
    @staticmethod
    def supports_target(target: Any) -> bool:
        return bool(target.backend == "cpu")

    def hash(self) -> str:
        return "interpreted"

    def parse_options(self, options: Any) -> Any:
        return options

    def add_stages(self, *args: Any) -> None:
        raise NotImplementedError("kernels are interpreted, not compiled")

    def load_dialects(self, context: Any) -> None:
        raise NotImplementedError("kernels are interpreted, not compiled")

    def get_module_map(self) -> dict[str, Any]:
        return {}
