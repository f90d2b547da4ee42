"""Which device and number format "auto" means on this machine."""

from __future__ import annotations

import torch

# Instructions that multiply bfloat16, as torch names them: x86 (AVX-512, AMX) and ARM (NEON, SVE).
_BFLOAT16 = ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16")


def native_bfloat16() -> bool:
    """Whether this CPU computes in bfloat16; others emulate it, several times as slow as float32."""
    found = torch.cpu.get_capabilities()
    return any(found.get(name, False) for name in _BFLOAT16)


def device_here(name: str) -> str:
    """The device that a name means: "auto" takes a GPU if there is one."""
    return ("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name


def dtype_here(name: str, device: str) -> str:
    """The type of the weights that a name means, where this project chooses: "auto" is float32 on a CPU, bfloat16 on
    a GPU.
    """
    return ("float32" if device == "cpu" else "bfloat16") if name == "auto" else name


def placed(device: str, dtype: str) -> tuple[str, str]:
    """Kind of device and type, of engines where this project chooses."""
    kind = device_here(device).partition(":")[0]
    return kind, dtype_here(dtype, kind)


def placed_by_host(device: str, dtype: str) -> tuple[str, str]:
    """The same of SGLang and vLLM: on a GPU "auto" stays, since they choose a type by the model."""
    kind = device_here(device).partition(":")[0]
    return kind, dtype_here(dtype, kind) if kind == "cpu" else dtype
