"""Exporting a Hugging Face model folder: the reading of it is the engines', the graph is `moi_onnx`'s."""

from __future__ import annotations

from pathlib import Path

import torch

from moi_engines.checkpoint import Checkpoint, load_checkpoint, load_config
from moi_onnx.architectures import check_architecture
from moi_onnx.export import Log, SelfCheck, write_folder
from moi_onnx.options import ExportOptions

_DEFAULTS = ExportOptions()


def export(
    model: str | Path,
    out: str | Path,
    options: ExportOptions = _DEFAULTS,
    *,
    force: bool = False,
    log: Log = lambda text: None,
    check: SelfCheck | None = None,
) -> Path:
    """Write the ONNX folder `out` of the model folder `model`, or nothing; as `moi_onnx.export.write_folder`."""
    return write_folder(_load, model, out, options, force=force, log=log, check=check)


def _load(source: Path, options: ExportOptions) -> Checkpoint:
    _, config = load_config(source)
    check_architecture(config)  # before gigabytes are read
    return load_checkpoint(source, torch.device("cpu"), getattr(torch, options.dtype))
