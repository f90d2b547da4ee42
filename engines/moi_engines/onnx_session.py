"""An exported decode step in ONNX Runtime: tensors bound once, mixtures fed back on the device.

Dims: B rows, T prompt positions, S slots, M positions of the static cache.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
import onnxruntime as ort

from moi_onnx.manifest import MODEL, Manifest

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
_RESULTS = ("token", "decided", "next_mix_ids", "next_mix_weights", "entropy", "intervention", "logits")
_FED_BACK = ("next_mix_ids", "next_mix_weights")
_DTYPES = {"float32": np.float32, "float16": np.float16, "bfloat16": ml_dtypes.bfloat16}
Array = Any  # numpy.ndarray; its shape and type are said in words


class Output(NamedTuple):
    """What a step tells the host: token int64, decided bool, entropy and intervention float32, each [B]."""

    token: Array
    decided: Array
    entropy: Array
    intervention: Array


def choose_provider(name: str) -> str:
    """ "cpu", "cuda" or "tensorrt"; "auto" is the CPU unless ONNX Runtime was built for a GPU.

    Raises ValueError for an unknown name, RuntimeError for one that this ONNX Runtime lacks.
    """
    present = ort.get_available_providers()
    if name == "auto":
        return "cuda" if PROVIDERS["cuda"] in present else "cpu"
    if name not in PROVIDERS:
        raise ValueError(f"provider={name!r} is unknown; allowed: auto, {', '.join(PROVIDERS)}")
    if PROVIDERS[name] not in present:
        raise RuntimeError(f"provider={name!r} is not in this ONNX Runtime (it has {', '.join(present)})")
    return name


class StepSession:
    """The session of an ONNX folder."""

    def __init__(self, folder: Path, manifest: Manifest, provider: str, threads: int | None) -> None:
        if manifest.dtype == "bfloat16" and provider == "cpu":
            raise ValueError("dtype bfloat16 does not run on ONNX Runtime's CPU provider; export float32 or float16")
        options = ort.SessionOptions()
        options.log_severity_level = 3
        if threads is not None:
            options.intra_op_num_threads = threads
        chosen = [PROVIDERS[provider], PROVIDERS["cpu"]] if provider != "cpu" else [PROVIDERS["cpu"]]
        try:
            self.session = ort.InferenceSession(str(folder / MODEL), options, providers=chosen)
        except Exception as error:  # whatever ONNX Runtime raises for a broken model
            raise ValueError(f"ONNX Runtime cannot load {folder / MODEL}: {error}") from error
        self.manifest = manifest
        self.device = "cpu" if provider == "cpu" else "cuda"
        self.dtype = _DTYPES[manifest.dtype]

    def to_device(self, array: Array) -> Any:
        return ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array), self.device, 0)


class Batch:
    """Rows being decoded together: their cache, settings and next mixtures, all on the device.

    prompts   token ids row by row; settings: arrays [B] or [B,P] by input name, but for the noise
    """

    def __init__(self, session: StepSession, prompts: list[list[int]], settings: Mapping[str, Array]) -> None:
        self._session, self._static = session, session.manifest.variant == "static"
        self._settings = {name: session.to_device(value) for name, value in settings.items()}
        self._lengths = np.array([len(prompt) for prompt in prompts], dtype=np.int64)
        self._advance = np.ones_like(self._lengths)  # 0 for finished rows
        self._prompts: list[list[int]] | None = prompts
        self._binding: Any = None
        self._cache = self._empty_cache(len(prompts))
        self._mixture: list[Any] = []
        self._logits: Any = None
        self._mask: Array = None  # int64 [B, positions so far], concat only

    def step(self, noise: Array) -> Output:
        """The next token of each row; `noise` float32 [B]."""
        if self._prompts is not None:
            out = self._run(self._prompt_inputs(self._prompts), noise)
            self._prompts, self._binding = None, None  # decoding has shapes of its own
            return out
        out = self._run(self._decode_inputs(), noise)
        self._lengths += self._advance
        return out

    def logits(self, row: int) -> Array:
        """Logits [V] that the last step's token of `row` was drawn from."""
        return self._logits.numpy()[row]

    def replace_token(self, row: int, token: int) -> float:
        """Feed back `token` instead of the drawn one; returns the row's intervention.

        The weights do not depend on the token: only slot 0's id changes.
        """
        ids, weights = (value.numpy().copy() for value in self._mixture)
        ids[row, 0, 0] = token
        self._mixture[0] = self._session.to_device(ids)
        return float(weights[row, 0][ids[row, 0] != token].sum())

    def finish(self, row: int) -> None:
        """The row has its last token: it stays at its position, which no token of it fills or sees."""
        self._advance[row] = 0

    def select(self, rows: list[int]) -> None:
        """Keep only these rows."""

        def part(value: Any) -> Any:
            return self._session.to_device(value.numpy()[rows])

        self._settings = {name: part(value) for name, value in self._settings.items()}
        self._cache = {name: part(value) for name, value in self._cache.items()}
        self._mixture = [part(value) for value in self._mixture]
        self._lengths, self._advance = self._lengths[rows], self._advance[rows]
        if not self._static:
            self._mask = self._mask[rows]
        self._binding = None

    def _run(self, inputs: dict[str, Any], noise: Array) -> Output:
        binding = self._bound()
        for name, value in inputs.items():
            binding.bind_ortvalue_input(name, value)
        binding.bind_ortvalue_input("noise", self._session.to_device(noise))
        # A bound output keeps its buffer for the next run: not what is fed back, nor what grows.
        for name in _FED_BACK:
            binding.bind_output(name, self._session.device)
        if not self._static:
            for name, value in self._cache.items():
                binding.bind_ortvalue_input(f"past_key_values.{name}", value)
                binding.bind_output(f"present.{name}", self._session.device)
        self._session.session.run_with_iobinding(binding)
        values = dict(zip(self._outputs, binding.get_outputs(), strict=True))
        if not self._static:
            self._cache = {name: values[f"present.{name}"] for name in self._cache}
        self._mixture = [values["next_mix_ids"], values["next_mix_weights"]]
        self._logits = values["logits"]
        return Output(*(values[name].numpy() for name in Output._fields))

    def _bound(self) -> Any:
        """The binding with everything that stays from step to step."""
        if self._binding is not None:
            return self._binding
        binding = self._session.session.io_binding()
        for name, value in self._settings.items():
            binding.bind_ortvalue_input(name, value)
        for name in _RESULTS:
            binding.bind_output(name, self._session.device)
        for name, value in self._cache.items():
            if self._static:  # one buffer for past and present: the graph writes it in place
                binding.bind_ortvalue_input(f"past_key_values.{name}", value)
                binding.bind_ortvalue_output(f"present.{name}", value)
            else:
                binding.bind_output(f"present.{name}", self._session.device)
        self._outputs = [*_RESULTS, *(f"present.{name}" for name in self._cache)]
        self._binding = binding
        return binding

    def _empty_cache(self, rows: int) -> dict[str, Any]:
        manifest = self._session.manifest
        shape = (rows, manifest.heads, manifest.max_length if self._static else 0, manifest.width)
        names = [f"{layer}.{kind}" for layer in range(manifest.layers) for kind in ("key", "value")]
        return {name: self._session.to_device(np.zeros(shape, self._session.dtype)) for name in names}

    def _prompt_inputs(self, prompts: list[list[int]]) -> dict[str, Any]:
        """One slot of weight 1 per token; padding right of a prompt (static) or left of it (concat)."""
        longest = int(self._lengths.max())
        ids = np.zeros((len(prompts), longest, 1), np.int32)
        for row, prompt in enumerate(prompts):
            ids[row, slice(0, len(prompt)) if self._static else slice(longest - len(prompt), longest), 0] = prompt
        place = self._static_place(first=True) if self._static else self._concat_place(longest)
        return self._on_device({"mix_ids": ids, "mix_weights": np.ones(ids.shape, np.float32), **place})

    def _decode_inputs(self) -> dict[str, Any]:
        place = self._static_place(first=False) if self._static else self._concat_place(1)
        return {"mix_ids": self._mixture[0], "mix_weights": self._mixture[1], **self._on_device(place)}

    def _static_place(self, first: bool) -> dict[str, Array]:
        zeros = np.zeros_like(self._lengths)
        if first:
            return {"write_indices": zeros, "last_index": self._lengths - 1}
        return {"write_indices": self._lengths.copy(), "last_index": zeros}

    def _concat_place(self, new: int) -> dict[str, Array]:
        if self._prompts is not None:
            self._mask = (np.arange(new) >= new - self._lengths[:, None]).astype(np.int64)
            positions = np.maximum(self._mask.cumsum(1) - 1, 0)
        else:
            self._mask = np.concatenate([self._mask, np.ones((len(self._mask), 1), np.int64)], 1)
            positions = self._lengths[:, None].copy()
        return {"attention_mask": self._mask, "position_ids": positions}

    def _on_device(self, arrays: Mapping[str, Array]) -> dict[str, Any]:
        return {name: self._session.to_device(array) for name, array in arrays.items()}
