"""Weights of linear layers as blocks of 4-bit integers (MatMulNBits), with ONNX Runtime's own quantizer."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import onnx_ir as ir

from moi_onnx.exporter import quiet

BLOCK = 32


def quantize_int4(graph: ir.Model, draft: Path) -> ir.Model:
    """The graph with every MatMul by a constant as MatMulNBits; embedding and output layer (a Gemm) stay as they are.

    Works on files in `draft`, which are gone afterwards: a float32 copy does not fit the 2 GB of a protobuf.
    """
    import onnx

    wide = draft / "wide.onnx"
    ir.save(graph, wide, external_data="wide.onnx.data", size_threshold_bytes=1024)
    del graph
    with quiet():
        quantizer = _quantizer(onnx.load(wide), bits=4, block_size=BLOCK, is_symmetric=True, accuracy_level=4)
        quantizer.process()
        result: ir.Model = ir.from_proto(quantizer.model.model)
    for file in draft.glob("wide.onnx*"):
        file.unlink()
    return result


def _quantizer(*args: Any, **settings: Any) -> Any:
    """ONNX Runtime's own. Its module sets up the root logger when it is imported, which is the program's to do."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
    return MatMulNBitsQuantizer(*args, **settings)
