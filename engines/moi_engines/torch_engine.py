"""The reference engine: any Hugging Face decoder, decoded with the shared op in plain PyTorch."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path

import torch

from moi_engines.base import RowEngine
from moi_engines.checkpoint import load_checkpoint
from moi_engines.parity_types import Types
from moi_engines.precision import device_here, dtype_here, placed
from moi_engines.protocol import TokenEvent
from moi_engines.registry import EngineSpec, SelfTest
from moi_engines.request import SequenceState
from moi_engines.torch_loop import TorchLoop


class TorchEngine(RowEngine):
    """Decodes with transformers. See `moi_engines.protocol.Engine`.

    model              folder, hub id or GGUF file
    revision           branch, tag or commit of a hub id
    device             "auto" takes a GPU if there is one
    dtype              "auto" is float32 on the CPU and bfloat16 on a GPU
    batch_size         rows decoded together
    implementation     of the op, as `moi.mix`
    trust_remote_code  run the Python that a model brings along
    mixing             False: plain decoding without the op, and nothing is said of entropy
    """

    name = "torch"

    def __init__(
        self,
        model: str | Path,
        *,
        revision: str | None = None,
        device: str = "auto",
        dtype: str = "auto",
        batch_size: int = 64,
        implementation: str = "auto",
        trust_remote_code: bool = False,
        mixing: bool = True,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size={batch_size} is not allowed; batch_size must be an integer >= 1")
        self.device = torch.device(device_here(device))
        self.checkpoint = load_checkpoint(
            model,
            self.device,
            _dtype(dtype, self.device),
            revision=revision,
            trust_remote_code=trust_remote_code,
        )
        self.tokenizer, self.limits = self.checkpoint.tokenizer, self.checkpoint.limits
        self.batch_size = batch_size
        self.mixing = mixing
        self.loop = TorchLoop(self.checkpoint, implementation=implementation, mixing=mixing)

    def plain(self) -> TorchEngine:
        """The same weights in the same loop, without the op."""
        other = copy.copy(self)
        other.mixing = False
        other.loop = TorchLoop(self.checkpoint, mixing=False)
        return other

    def decode_batch(self, rows: list[SequenceState]) -> Iterator[TokenEvent]:
        """See `RowEngine`: the loop's tokens."""
        return self.loop.decode(rows)


def _dtype(name: str, device: torch.device) -> torch.dtype:
    names = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
    if name != "auto" and name not in names:
        raise ValueError(f"dtype={name!r} is unknown; allowed: auto, {', '.join(names)}")
    return names[dtype_here(name, device.type)]


def _types(model: Path) -> Types:
    """Of dtype "auto"."""
    name = dtype_here("auto", device_here("auto"))
    return Types(name, name)


SPEC = EngineSpec(
    "torch",
    TorchEngine,
    modules=("transformers", "tokenizers", "rich"),
    extra="engine",
    library="transformers",
    tuned=lambda folder, workload: {"batch_size": workload.batch},
    types=_types,
    placed=placed,
    baseline="the same loop without the op",
    # The reference itself: the device and implementation that "auto" picks, rows one by one, float32 everywhere.
    selftest=SelfTest(options={"dtype": "float32", "batch_size": 1}, types=Types()),
)
