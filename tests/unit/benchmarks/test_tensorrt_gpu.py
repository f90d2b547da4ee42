"""The GPU check of the plugin's kernel, as far as a machine without a GPU can tell: its own logic, over fakes."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

pytest.importorskip("moi_tensorrt")
from moi_bench import tensorrt_gpu
from moi_bench.tensorrt_gpu import CHECKED, Shape, mixtures, reference, timings, verify
from moi_tensorrt import driver
from moi_tensorrt.plan import Launch, launch

CPU = torch.device("cpu")
SMALL = (Shape(2, 1, 3, 11, 8), Shape(1, 2, 5, 9, 3))


def _perfect(plan: Launch, inputs: Sequence[Tensor], output: Tensor) -> None:
    output.copy_(reference(*inputs))


def test_every_type_and_tactic_is_compared() -> None:
    seen: list[str] = []

    def enqueue(plan: Launch, inputs: Sequence[Tensor], output: Tensor) -> None:
        seen.append(plan.kernel)
        _perfect(plan, inputs, output)

    assert verify(enqueue, CPU, SMALL) == len(seen) == 9
    assert set(seen) == {f"moi_mix_embed_{t}" for t in ("f32_x1", "f32_x4", "f16_x1", "f16_x8", "bf16_x1", "bf16_x8")}
    assert {shape.width % 8 == 0 for shape in CHECKED} == {True, False}


@pytest.mark.parametrize("fault", ["nothing", "twice", "rows"])
def test_a_wrong_kernel_is_noticed(fault: str) -> None:
    def enqueue(plan: Launch, inputs: Sequence[Tensor], output: Tensor) -> None:
        if fault != "nothing":
            _perfect(plan, inputs, output)
            output.copy_(output * 2 if fault == "twice" else output.flip(0))

    with pytest.raises(AssertionError, match="embedding"):
        verify(enqueue, CPU, SMALL[:1])


def test_timings_have_a_figure_for_each_kernel() -> None:
    (entry, *_) = timings(_perfect, CPU, SMALL[:1], repeats=2)
    assert entry["type"] == "f32"
    assert {"reference_us", "moi_mix_embed_f32_x1_us", "moi_mix_embed_f32_x4_gb_s"} <= set(entry)
    assert mixtures(SMALL[0], torch.float32, CPU)[1].sum(-1).allclose(torch.ones(2, 1))


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_without_a_gpu_the_command_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert tensorrt_gpu.main([]) == 2
    assert "needs an NVIDIA GPU" in capsys.readouterr().err


class _Driver:
    """libcuda as the launch code sees it: takes the call apart, or fails."""

    def __init__(self, status: int = 0) -> None:
        self.status = status
        self.calls: list[tuple[list[int], list[int], int, list[int]]] = []

    def cuLaunchKernel(self, function, *rest):  # noqa: N802 - the driver's name
        sizes, (shared, stream, pointers, extra) = [size.value for size in rest[:6]], rest[6:]
        assert shared.value == 0
        assert extra is None
        kinds = [ctypes.c_uint64] * 3 + [ctypes.c_int32] * 3 + [ctypes.c_uint64]
        values = [ctypes.cast(p, ctypes.POINTER(kind))[0] for p, kind in zip(pointers, kinds, strict=True)]
        self.calls.append((sizes[:3], sizes[3:], stream.value, values))
        return self.status

    def cuGetErrorString(self, status, text):  # noqa: N802
        ctypes.cast(text, ctypes.POINTER(ctypes.c_char_p))[0] = b"invalid device function"
        return 0


def test_the_driver_gets_grid_block_stream_and_arguments_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = _Driver()
    monkeypatch.setattr(driver, "driver", lambda: fake)
    plan = launch("bf16", (4, 2, 21), (300, 2048), 2)
    driver.enqueue(0xABC, plan, [1 << 40, 2 << 40, 3 << 40], [4 << 40], stream=99)
    assert fake.calls == [([8, 2, 1], [128, 1, 1], 99, [1 << 40, 2 << 40, 3 << 40, 21, 300, 2048, 4 << 40])]
    driver.enqueue(0xABC, launch("f32", (0, 1, 21), (300, 64)), [0, 0, 0], [0], stream=0)
    assert len(fake.calls) == 1, "no rows, no launch"


def test_a_failed_launch_names_the_kernel_and_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "driver", lambda: _Driver(98))
    with pytest.raises(
        driver.CudaError, match=r"cuLaunchKernel\(moi_mix_embed_f32_x1\) failed: invalid device function \(98\)"
    ):
        driver.enqueue(1, launch("f32", (1, 1, 1), (5, 3)), [1, 2, 3], [4], stream=0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("architecture", ["compute_75", "compute_80"])
def test_the_kernel_on_the_gpu_equals_the_reference(architecture: str) -> None:
    assert verify(tensorrt_gpu.gpu_enqueue(architecture), torch.device("cuda")) > 0
