"""Which number format "auto" means on a CPU."""

from __future__ import annotations

import torch

# Instructions that multiply bfloat16, as torch names them: x86 (AVX-512, AMX) and ARM (NEON, SVE).
_BFLOAT16 = ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16")


def native_bfloat16() -> bool:
    """Whether this CPU computes in bfloat16; others emulate it, several times as slow as float32."""
    found = torch.cpu.get_capabilities()
    return any(found.get(name, False) for name in _BFLOAT16)
