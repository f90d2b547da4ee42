"""Folders of int4 exports, without the one part of their arithmetic that no reference can follow closely."""

from __future__ import annotations

import shutil
from pathlib import Path


def with_float32_products(folder: Path, out: Path) -> Path:
    """A copy of the folder whose products take activations in float32, not rounded to 8 bits."""
    import onnx

    shutil.copytree(folder, out)
    graph = onnx.load(out / "model.onnx", load_external_data=False)
    levels = [a for node in graph.graph.node for a in node.attribute if a.name == "accuracy_level"]
    assert levels
    for level in levels:
        level.i = 1
    onnx.save(graph, out / "model.onnx")
    return out
