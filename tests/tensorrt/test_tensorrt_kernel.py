"""The plugin's kernel: compiled by NVRTC, and its source run on the CPU against the reference.

The emulation compiles kernel.cu as C++ and runs the threads one by one. It is a check of indexing and
arithmetic, and AddressSanitizer watches the bounds; the GPU itself is checked by `python -m moi_bench.tensorrt_gpu`.
"""

from __future__ import annotations

import ctypes
import math
import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

pytest.importorskip("moi_tensorrt")
import moi_tensorrt
from moi.mixture import embed
from moi.testing import assert_embedding
from moi_tensorrt import driver
from moi_tensorrt.kernels import compile_kernel, parameters
from moi_tensorrt.nvrtc import NvrtcError
from moi_tensorrt.plan import DTYPES, EXTRAS, INPUTS, OUTPUTS, Launch, launch, tactics

FIXTURE = Path(__file__).parent / "fixture"
TORCH = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}
SHAPES = [(1, 1, 1, 5, 8), (4, 1, 21, 258, 32), (2, 3, 4, 50, 30), (3, 1, 65, 300, 1032), (5, 7, 2, 17, 129)]
Emulator = Callable[[Launch, list[Tensor], Tensor], None]


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Emulator:
    if shutil.which("g++") is None:
        pytest.skip("no C++ compiler")
    program = tmp_path_factory.mktemp("kernel") / "emulate"
    include = Path(moi_tensorrt.__file__).parent
    command = ["g++", "-std=c++17", "-O1", "-g", f"-I{include}", "-o", str(program), str(FIXTURE / "emulate.cpp")]
    checks = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]  # reads and writes outside, overflows
    subprocess.run([*command, *checks], check=True, timeout=120)

    def run(plan: Launch, inputs: list[Tensor], output: Tensor) -> None:
        # The very argument list that the JIT plugin and the GPU benchmark hand to cuLaunchKernel; small numbers
        # stand for the addresses, and the program puts buffers of its own in their place.
        buffers = {1 + i: (1, tensor) for i, tensor in enumerate(inputs)} | {9: (2, output)}
        values = driver.arguments(list(buffers)[:-1], [9], plan)
        name = plan.kernel.encode()
        request = struct.pack("I", len(name)) + name + struct.pack("IIII", *plan.grid, plan.block, len(values))
        for value in values:
            if isinstance(value, ctypes.c_int32):
                request += struct.pack("<IQ", 0, value.value)
            else:
                kind, tensor = buffers[value.value]
                content = tensor.contiguous().view(torch.uint8).numpy().tobytes()
                request += struct.pack("<IQ", kind, len(content)) + content
        result = subprocess.run([program], input=request, capture_output=True, timeout=120)
        assert result.returncode == 0, result.stderr.decode()[-2000:]
        output.copy_(torch.frombuffer(bytearray(result.stdout), dtype=output.dtype).view(output.shape))

    return run


def _mixtures(shape: tuple[int, ...], dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    b, t, s, v, d = shape
    generator = torch.Generator().manual_seed(b * 1000 + d)
    ids = torch.randint(v, (b, t, s), generator=generator, dtype=torch.int32)
    weights = torch.rand(b, t, s, generator=generator).softmax(-1)
    return ids, weights, torch.randn(v, d, generator=generator).to(dtype)


def _reference(ids: Tensor, weights: Tensor, table: Tensor) -> Tensor:
    b, t, s = ids.shape
    return embed(ids.view(b * t, s), weights.view(b * t, s), table, 0, table.shape[0]).view(b, t, -1)


def _run(emulator: Emulator, ids: Tensor, weights: Tensor, table: Tensor, name: str, tactic: int) -> Tensor:
    out = torch.full((*ids.shape[:2], table.shape[1]), math.nan, dtype=table.dtype)
    emulator(launch(name, ids.shape, table.shape, tactic), [ids, weights, table], out)
    return out


@pytest.mark.parametrize("name", DTYPES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_emulated_kernel_equals_the_reference(emulator: Emulator, shape: tuple[int, ...], name: str) -> None:
    ids, weights, table = _mixtures(shape, TORCH[name])
    expected = _reference(ids, weights, table)
    for tactic in tactics(name, shape[-1]):
        assert_embedding(_run(emulator, ids, weights, table, name, tactic), expected)


@pytest.mark.parametrize("name", DTYPES)
def test_weight_one_is_the_row_bit_for_bit_and_zero_weights_read_nothing(emulator: Emulator, name: str) -> None:
    table = _mixtures((1, 1, 1, 9, 64), TORCH[name])[2]
    table[5], table[6, ::2] = math.nan, math.inf
    ids = torch.tensor([[[3, 5, 6, 9, -1]], [[0, 5, 6, 2_000_000_000, 5]]], dtype=torch.int32)
    weights = torch.tensor([1.0, 0, 0, 0, 0]).expand(2, 1, 5).contiguous()
    for tactic in tactics(name, 64):
        out = _run(emulator, ids, weights, table, name, tactic)
        assert torch.equal(out[:, 0], table[[3, 0]])


@pytest.mark.parametrize("name", DTYPES)
def test_ids_outside_the_table_contribute_nothing(emulator: Emulator, name: str) -> None:
    table = torch.ones(4, 16, dtype=TORCH[name])
    ids = torch.tensor([[[0, 4, -1]]], dtype=torch.int32)
    out = _run(emulator, ids, torch.tensor([[[0.5, 0.25, 0.25]]]), table, name, 1)
    assert torch.equal(out, torch.full((1, 1, 16), 0.5, dtype=TORCH[name]))


def test_bfloat16_rounds_to_nearest_even_and_keeps_nan_and_infinity(emulator: Emulator) -> None:
    values = torch.tensor([1.00390625, 1.01171875, 3.4e38, -0.1, 1e-40, math.inf, -math.inf, math.nan])
    table = torch.eye(8, dtype=torch.bfloat16)
    ids = torch.arange(8, dtype=torch.int32).view(1, 1, 8)
    finite = torch.where(values.isfinite(), values, 0.0)
    out = _run(emulator, ids, finite.view(1, 1, 8), table, "bf16", 2)
    assert torch.equal(out.view(8), finite.to(torch.bfloat16))
    special = torch.full((1, 8), math.nan, dtype=torch.bfloat16)
    special[0] = values.to(torch.bfloat16)
    one = _run(emulator, torch.zeros(1, 1, 1, dtype=torch.int32), torch.ones(1, 1, 1), special, "bf16", 1)
    assert torch.equal(one.view(8).isnan(), values.isnan())
    assert torch.equal(one.view(8)[5:7].float(), values[5:7])


def test_an_argument_out_of_order_is_noticed(emulator: Emulator) -> None:
    """The check that the checks check: vocab and width exchanged leave the table."""
    ids, weights, table = _mixtures((2, 1, 3, 64, 32), torch.float32)
    plan = launch("f32", ids.shape, table.shape)
    swapped = plan._replace(extras=(plan.extras[0], plan.extras[2], plan.extras[1]))
    with pytest.raises(AssertionError, match="AddressSanitizer"):
        emulator(swapped, [ids, weights, table], torch.zeros(2, 1, 32))


@pytest.mark.parametrize("architecture", ["compute_75", "compute_80", "compute_90"])
def test_nvrtc_compiles_every_kernel_with_the_launch_order(architecture: str) -> None:
    ptx = compile_kernel(architecture)
    assert f".target {architecture.replace('compute', 'sm')}" in ptx
    expected = ["u64"] * len(INPUTS) + ["u32"] * len(EXTRAS) + ["u64"] * len(OUTPUTS)
    for name in DTYPES:
        for tactic in tactics(name, 64):
            kernel = launch(name, (1, 1, 1), (1, 64), tactic).kernel
            assert parameters(ptx, kernel) == expected
    assert ".v4." in ptx, "the vector kernels load 16 bytes at once"


def test_arguments_follow_the_parameter_list() -> None:
    values = driver.arguments([1, 2, 3], [4], launch("bf16", (2, 1, 21), (300, 64)))
    assert [value.value for value in values] == [1, 2, 3, 21, 300, 64, 4]
    assert [ctypes.sizeof(value) for value in values] == [8, 8, 8, 4, 4, 4, 8]


def test_bad_compilations_are_explained() -> None:
    from moi_tensorrt.nvrtc import compile_ptx

    with pytest.raises(NvrtcError, match="compute_12"):
        compile_ptx("", "compute_12")
    with pytest.raises(NvrtcError, match=r"broken\.cu\(1\): error"):
        compile_ptx("void f( {", "compute_80", "broken.cu")
    with pytest.raises(ValueError, match="no kernel 'absent'"):
        parameters(compile_kernel(), "absent")


def test_a_missing_driver_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> ctypes.CDLL:
        raise OSError(name)

    driver.driver.cache_clear()
    monkeypatch.setattr(ctypes, "CDLL", absent)
    with pytest.raises(ImportError, match=r"libcuda\.so\.1 was not found"):
        driver.driver()
