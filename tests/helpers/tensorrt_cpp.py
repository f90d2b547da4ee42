"""examples/tensorrt_cpp over the fake runtime of tests/tensorrt/fixture/recorded, whose steps ONNX Runtime runs."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "tensorrt_cpp"
RECORDED = ROOT / "tests" / "tensorrt" / "fixture" / "recorded"
CHECKS = "-Werror -Wconversion -Wshadow -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all"
# Of ONNX Runtime: NumPy's type, and TensorRT's number.
TYPES = {
    "tensor(float)": (np.float32, 0),
    "tensor(int32)": (np.int32, 3),
    "tensor(bool)": (np.bool_, 4),
    "tensor(int64)": (np.int64, 8),
}
HALVES = {"float16": 1, "bfloat16": 7}


class Step(NamedTuple):
    """What a step was asked, and its outputs in the graph's types; `profile` is a number."""

    profile: int
    inputs: dict[str, np.ndarray]
    outputs: dict[str, np.ndarray]


def cuda_headers() -> Path | None:
    """The folder of cuda_runtime_api.h that Triton brings, or None."""
    spec = find_spec("triton")
    places = list(spec.submodule_search_locations or ()) if spec is not None else []
    folders = [Path(place) / "backends" / "nvidia" / "include" for place in places]
    return next((folder for folder in folders if (folder / "cuda_runtime_api.h").is_file()), None)


def build(out: Path, includes: str, libraries: str, flags: str = CHECKS) -> subprocess.CompletedProcess[str]:
    """The example by its own Makefile."""
    variables = [f"OUT={out}", f"INCLUDES={includes}", f"LIBRARIES={libraries}", f"CXXFLAGS={flags}"]
    return subprocess.run(["make", "-C", str(EXAMPLE), *variables], capture_output=True, text=True, timeout=300)


class Peer:
    """The other end of the fake runtime's pipes.

    session   of ONNX Runtime, with the graph that the engine was compiled from
    sidecar   as JSON: the profiles that the "engine" has are those of this one
    logits    the type that logits are handed over in, "float32", "float16" or "bfloat16"
    refuses   whether it says that the file is no engine
    """

    def __init__(
        self, session: Any, sidecar: Mapping[str, Any], logits: str = "float32", refuses: bool = False
    ) -> None:
        self.session, self.logits, self.refuses = session, logits, refuses
        self.profiles = {tensor["name"]: tensor["profiles"] for tensor in sidecar["tensors"]}
        self.numbers: Mapping[str, int] = sidecar["profiles"]
        self.steps: list[Step] = []
        self.blob = b""
        self.failure: BaseException | None = None

    def run(self, program: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The program with this end served; steps are in `steps`. Raises what went wrong here."""
        ours_in, theirs_out = os.pipe()
        theirs_in, ours_out = os.pipe()
        environment = {**os.environ, "MOI_FAKE_PIPES": f"{theirs_in},{theirs_out}"}
        command = [str(program), *arguments]
        with os.fdopen(ours_in, "rb") as incoming, os.fdopen(ours_out, "wb") as outgoing:
            process = subprocess.Popen(
                command, stdout=-1, stderr=-1, text=True, pass_fds=(theirs_in, theirs_out), env=environment
            )
            os.close(theirs_in)
            os.close(theirs_out)
            thread = threading.Thread(target=self._serve, args=(incoming, outgoing))
            thread.start()
            try:
                out, error = process.communicate(timeout=300)
            finally:
                process.kill()
                thread.join()
        if self.failure is not None:
            raise AssertionError(f"{self.failure!r}; the program said: {error}") from self.failure
        return subprocess.CompletedProcess(command, process.returncode, out, error)

    def _serve(self, incoming: BinaryIO, outgoing: BinaryIO) -> None:
        try:
            line = incoming.readline()
            if not line:
                return
            self.blob = incoming.read(int(line))
            outgoing.write(b"nothing\n" if self.refuses else f"engine\n{self._table()}\n".encode())
            outgoing.flush()
            while line := incoming.readline():
                self._step(line, incoming, outgoing)
        except BaseException as error:  # told to the test by `run`
            self.failure = error

    def _step(self, line: bytes, incoming: BinaryIO, outgoing: BinaryIO) -> None:
        profile, count = map(int, line.split())
        kinds = {value.name: TYPES[value.type][0] for value in self.session.get_inputs()}
        inputs = {}
        for _ in range(count):
            name, axes, *rest = incoming.readline().decode().split()
            shape = [int(size) for size in rest[: int(axes)]]
            inputs[name] = np.frombuffer(incoming.read(int(rest[-1])), kinds[name]).reshape(shape)
        names = [value.name for value in self.session.get_outputs()]
        outputs = dict(zip(names, self.session.run(names, inputs), strict=True))
        self.steps.append(Step(profile, inputs, outputs))
        outgoing.write(f"{len(outputs)}\n".encode())
        for name, value in outputs.items():
            data = self._bytes(name, value)
            outgoing.write(f"{name} {len(data)}\n".encode() + data)
        outgoing.flush()

    def _bytes(self, name: str, value: np.ndarray) -> bytes:
        if name == "logits" and self.logits == "float16":
            return value.astype(np.float16).tobytes()
        if name == "logits" and self.logits == "bfloat16":
            return (value.view(np.uint32) >> 16).astype(np.uint16).tobytes()
        return value.tobytes()

    def _table(self) -> str:
        inputs, outputs = self.session.get_inputs(), self.session.get_outputs()
        lines = [str(len(inputs) + len(outputs))]
        for direction, values in (("input", inputs), ("output", outputs)):
            for value in values:
                kind, number = TYPES[value.type]
                size = np.dtype(kind).itemsize
                if value.name == "logits" and self.logits in HALVES:
                    number, size = HALVES[self.logits], 2
                layer = value.name.removeprefix("present.")
                alias = f"past_key_values.{layer}" if layer != value.name else "-"
                shape = [-1 if isinstance(axis, str) else axis for axis in value.shape]
                ranges = self.profiles.get(value.name, {}).items()
                profiles = [f"{self.numbers[p]} {_list(own['min'])} {_list(own['max'])}" for p, own in ranges]
                lines.append(f"{value.name} {direction} {number} {size} {alias} {_list(shape)} {len(profiles)}")
                lines += profiles
        return "\n".join(lines)


def _list(values: Sequence[int]) -> str:
    return " ".join(map(str, (len(values), *values)))
