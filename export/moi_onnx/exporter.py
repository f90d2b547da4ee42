"""torch.onnx.export as this package calls it: quiet, dynamo, an IR model back."""

from __future__ import annotations

import gc
import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any

import onnx_ir as ir
import torch
from torch import nn

OPSETS = range(18, 25)
_TALKATIVE = ("torch.onnx", "onnxscript", "onnx_ir", "torch.export", "onnxruntime.quantization")


def to_onnx(
    module: nn.Module, example: tuple[Any, ...], inputs: list[str], outputs: list[str], dims: Any, opset: int
) -> ir.Model:
    """The module's graph; `dims` names the dynamic dimensions of each input.

    ValueError for an unsupported opset, RuntimeError of one line for a model that cannot be traced.
    """
    if opset not in OPSETS:
        raise ValueError(f"opset={opset} is not allowed; opset must be in {OPSETS[0]}..{OPSETS[-1]}")
    try:
        with quiet(), _no_collections(), torch.no_grad():
            program = torch.onnx.export(
                module.eval(),
                example,
                dynamo=True,
                opset_version=opset,
                verbose=False,
                input_names=inputs,
                output_names=outputs,
                dynamic_shapes=dims,
            )
    except Exception as error:  # whatever the tracing of a model raises, in pages
        raise RuntimeError(f"torch.onnx.export cannot export this model: {_reason(error)}") from error
    assert program is not None
    model: ir.Model = program.model
    return model


def _reason(error: BaseException) -> str:
    """One line of what an error began with."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else 'no reason given'}"


@contextmanager
def _no_collections() -> Iterator[None]:
    """Tracing keeps nearly all of its many small objects: looking for cycles among them takes a third of its time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@contextmanager
def quiet() -> Iterator[None]:
    """Without the exporter's advice to its developers; errors still raise."""
    loggers = [logging.getLogger(name) for name in _TALKATIVE]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
