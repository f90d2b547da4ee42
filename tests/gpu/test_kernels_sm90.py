"""Compiles the Triton kernels for sm_90 (Hopper) as they run in production. Needs no GPU: ptxas comes with Triton.

Triton decides at import whether it interprets, so the compilation runs in a process of its own (this file).
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

pytest.importorskip("triton", reason="Triton is not installed; pip install mixture-of-inputs[triton]")

VARIANTS = (
    (151_936, 20, "support", "fp32"),
    (151_936, 20, "support", "bf16"),
    (151_936, 64, "vocab", "fp32"),
    (262_144, 20, "support", "fp32"),
    (262_144, 64, "vocab", "fp32"),
    (262_144, 64, "vocab", "bf16"),
)

# Registers per thread above which a multiprocessor holds too few programs of `scan` to keep its memory busy.
SCAN_REGISTERS = 96


def _compile(kernel: Any, types: dict[str, str], constants: dict[str, Any], warps: int) -> dict[str, Any]:
    """Registers, spilled bytes, shared memory, code size and widest load of one kernel variant."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    names = kernel.arg_names
    # Specialised as for contiguous rows of a multiple of 16 ids: strides of 1 are constants, the rest divide by 16.
    constants = {**constants, **{name: 1 for name in ("stride_id", "table_column", "out_column") if name in names}}
    whole = ("vocab", "stride_row", "width", "table_row", "out_row", "start")
    aligned = [name for name in names if name.endswith("_ptr") or name in whole]
    source = ASTSource(
        fn=kernel,
        signature={name: "constexpr" if name in constants else types.get(name, "i32") for name in names},
        constexprs={(names.index(name),): value for name, value in constants.items()},
        attrs={(names.index(name),): [["tt.divisibility", 16]] for name in aligned},
    )
    compiled = triton.compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": warps})
    return {
        "kernel": kernel.__name__,
        **_usage(compiled.asm["cubin"]),
        "shared": compiled.metadata.shared,
        "kib": len(compiled.asm["cubin"]) // 1024,
        "loads": sorted(set(re.findall(r"ld\.global[.\w:]*", compiled.asm["ptx"]))),
    }


def _usage(cubin: bytes) -> dict[str, int]:
    import triton

    tool = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        report = subprocess.run([tool, "-res-usage", file.name], capture_output=True, text=True, check=True).stdout
        code = subprocess.run([tool, "-sass", file.name], capture_output=True, text=True, check=True).stdout
    found = re.search(r"REG:(\d+) STACK:(\d+) .*LOCAL:(\d+)", report)
    assert found is not None, report
    spills = len(re.findall(r"\b(?:LDL|STL)\b", code))
    return {"registers": int(found[1]), "stack": int(found[2]), "local": int(found[3]), "spills": spills}


def _compile_variant(vocab: int, top_k: int, entropy: str, dtype: str) -> list[dict[str, Any]]:
    from moi.kernels import triton_kernels as host

    use = host.kernels()
    cut = host.plan(vocab, top_k)
    types = {
        **dict.fromkeys(
            ("temperature_ptr", "parameters_ptr", "uniforms_ptr", "maxima_ptr", "partials_ptr", "weights_ptr"), "*fp32"
        ),
        **dict.fromkeys(("policy_ptr", "ids_ptr"), "*i32"),
        **dict.fromkeys(("table_ptr", "out_ptr"), "*bf16"),
        **{"logits_ptr": f"*{dtype}", "token_ptr": "*i64", "lists_ptr": "*i64", "entropy_ptr": "*fp32"},
        "inverse_log": "fp32",
    }
    variant = {"GROUP": host.GROUP, "VOCAB_ENTROPY": entropy == "vocab", "SAMPLING": entropy == "vocab"}
    selecting = [host.select_constants(cut, top_k, draws) for draws in (False, True)]
    return [
        _compile(use.scan, types, {**variant, "GROUPS": host.GROUPS}, host.SCAN_WARPS),
        *(_compile(use.select, types, {**variant, **each}, cut.warps) for each in selecting),
        _compile(use.gather_mix, types, host.embed_constants(top_k + 1), host.EMBED_WARPS),
    ]


def _words(slots: int) -> dict[str, int]:
    return {"W": 2 * slots + 2, "POSITION": 2 * slots, "ENTROPY": 2 * slots + 1}


def _compile_store() -> list[dict[str, Any]]:
    from moi_serving.slots.store_kernel import kernel

    types = {
        name: "*i64" if name in ("slots_ptr", "token_ptr", "position_ptr") else "*i32" for name in kernel.arg_names
    } | {"exclusive_ptr": "*i1"}
    return [
        _compile(kernel, types, {"NOT_DUE": -1, "S": slots, "PAD": pad, **flags, **_words(slots)}, 1)
        for slots, pad in ((21, 64), (65, 256))
        for flags in ({"MAY_STOP": may_stop, "DRAWN": drawn} for may_stop in (False, True) for drawn in (False, True))
    ]


@pytest.fixture(scope="module")
def compiled() -> dict[str, list[dict[str, Any]]]:
    environment = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    run = subprocess.run([sys.executable, __file__], env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    result: dict[str, list[dict[str, Any]]] = json.loads(run.stdout)
    return result


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_no_kernel_spills(compiled: dict[str, list[dict[str, Any]]], variant: tuple[Any, ...]) -> None:
    for kernel in compiled[str(variant)]:
        assert (kernel["stack"], kernel["local"], kernel["spills"]) == (0, 0, 0), kernel


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_scan_reads_sixteen_bytes_at_a_time_and_leaves_room_for_others(
    compiled: dict[str, list[dict[str, Any]]], variant: tuple[Any, ...]
) -> None:
    scan = compiled[str(variant)][0]
    assert any(".v4.b32" in load for load in scan["loads"]), scan
    assert scan["registers"] <= SCAN_REGISTERS, scan


def test_the_kernel_of_the_sglang_plugin_is_small(compiled: dict[str, list[dict[str, Any]]]) -> None:
    for kernel in compiled["store"]:
        assert (kernel["stack"], kernel["local"], kernel["spills"]) == (0, 0, 0), kernel
        assert kernel["registers"] <= 48, kernel


if __name__ == "__main__":
    results = {str(variant): _compile_variant(*variant) for variant in VARIANTS}
    sys.stdout.write(json.dumps({**results, "store": _compile_store()}, indent=1))
