"""The plugin in NVIDIA's real registry, over the lean runtime: names, shapes, types, AOT launch parameters.

Everything native runs in a process of its own. Building and running engines needs a GPU and is not here.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("moi_tensorrt")
from moi_tensorrt.kernels import parameters
from moi_tensorrt.plan import BLOCK, EXTRAS, INPUTS, OUTPUTS
from moi_tensorrt.plan import launch as make_plan

pytestmark = pytest.mark.slow

FIXTURE = Path(__file__).parent / "fixture"
TYPES = {"float32": ("f32", "FLOAT", 4), "float16": ("f16", "HALF", 8), "bfloat16": ("bf16", "BF16", 8)}
SIZES = [(1, 1, 21, 258, 32), (7, 1, 21, 151_936, 1024), (3, 5, 1, 300, 30), (64, 1, 65, 32_000, 4096)]
DYNAMIC = [[i, axis] for i in (0, 1) for axis in range(3)]


def _case(size: tuple[int, ...], table: str, dynamic: Any = DYNAMIC, ids: str = "int32") -> dict[str, Any]:
    b, t, s, v, d = size
    return {"shapes": [[b, t, s], [b, t, s], [v, d]], "types": [ids, "float32", table], "dynamic": dynamic}


GOOD = [(size, table) for size in SIZES for table in TYPES]
BAD = [
    (_case(SIZES[0], "int8"), "input table has type INT8; allowed: FLOAT, HALF or BF16"),
    (_case(SIZES[0], "float32", ids="int64"), "input ids has type INT64; allowed: INT32"),
    (
        {"shapes": [[2, 3], [2, 3], [9, 8]], "types": ["int32", "float32", "float32"], "dynamic": []},
        "input ids has 2 dimensions; it must have 3",
    ),
    (
        {"shapes": [[2, 1, 3], [2, 1, 3], [9]], "types": ["int32", "float32", "float32"], "dynamic": []},
        "input table has 1 dimensions; it must have 2",
    ),
]
UNKNOWN_WIDTH = _case(SIZES[1], "bfloat16", [*DYNAMIC, [2, 1]])


@pytest.fixture(scope="module")
def answer(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    sys.path.insert(0, str(FIXTURE))
    try:
        from build import build, missing
    finally:
        sys.path.remove(str(FIXTURE))
    if reason := missing():
        pytest.skip(reason)
    folder = build(tmp_path_factory.mktemp("tensorrt"))
    cases = [*(_case(*good) for good in GOOD), *(case for case, _ in BAD), UNKNOWN_WIDTH]
    command = [sys.executable, str(FIXTURE / "probe.py"), str(folder), json.dumps(cases)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout[result.stdout.index("{") :])


def test_registered_once_under_the_name_the_onnx_nodes_use(answer: dict[str, Any]) -> None:
    assert answer["creators"] == [["MixEmbed", "1", "moi"]]
    assert answer["fields"] == []


@pytest.mark.parametrize(("index", "size", "table"), [(i, *good) for i, good in enumerate(GOOD)])
def test_shapes_types_and_launch(answer: dict[str, Any], index: int, size: tuple[int, ...], table: str) -> None:
    batch, positions, slots, vocab, width = size
    name, trt_type, lanes = TYPES[table]
    instance = answer["instances"][index]
    assert instance["output_shapes"] == [[batch, positions, width]]
    assert instance["output_types"] == [trt_type]
    assert instance["combinations"] == ["INT32", "FLOAT", trt_type, trt_type]
    assert set(instance["tactics"]) == ({"1", "2"} if width % lanes == 0 else {"1"})
    for tactic, launch in instance["tactics"].items():
        columns = lanes if tactic == "2" else 1
        assert launch["kernel"] == f"moi_mix_embed_{name}_x{columns}"
        assert launch["extras"] == [slots, vocab, width]
        assert launch["extra_types"] == ["SymInt32"] * 3
        assert (launch["grid_x"], launch["grid_z"]) == (batch * positions, 1)
        assert (launch["block_x"], launch["block_y"], launch["block_z"]) == (BLOCK, 1, 1)
        assert launch["shared_mem"] == 0
        reached = launch["grid_y"] * BLOCK * columns
        assert reached >= width > reached - BLOCK * columns


def test_parameter_list_of_the_embedded_ptx_is_the_launch_order(answer: dict[str, Any]) -> None:
    expected = ["u64"] * len(INPUTS) + ["u32"] * len(EXTRAS) + ["u64"] * len(OUTPUTS)
    for launch in answer["instances"][0]["tactics"].values():
        assert ".target sm_80" in launch["ptx"]
        assert parameters(launch["ptx"], launch["kernel"]) == expected


def test_only_the_scalar_kernel_while_the_width_is_unknown(answer: dict[str, Any]) -> None:
    assert set(answer["instances"][-1]["tactics"]) == {"1"}


@pytest.mark.parametrize(("index", "message"), [(len(GOOD) + i, bad[1]) for i, bad in enumerate(BAD)])
def test_errors_name_the_tensor(answer: dict[str, Any], index: int, message: str) -> None:
    assert answer["instances"][index] == {"error": f"moi::MixEmbed: {message}"}


def test_the_full_bindings_have_every_name_that_is_called(answer: dict[str, Any]) -> None:
    assert answer["missing"] == []


def test_the_jit_implementation_launches_by_the_same_plan(answer: dict[str, Any]) -> None:
    plan = make_plan("bf16", (4, 2, 21), (300, 64), 2)
    assert answer["jit"] == [[True, json.loads(json.dumps(plan)), [1000, 2000, 3000], [4000], 7]]
