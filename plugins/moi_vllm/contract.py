"""Holds an installed vLLM against what `moi_vllm.host` declares."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterable

from moi_serving.contract import problems
from moi_vllm.host import VLLM, model, requests, server, worker

TESTED = ("0.32.0", "0.33.0")
_DECLARING = (server, requests, worker, model)  # imported, they have declared all


def check_contract() -> list[str]:
    """Problems of the installed vLLM, one line each; empty when everything this plugin needs is there."""
    try:
        version = server.version()
    except ImportError:
        return ["vllm is not installed"]
    untested = [] if version in TESTED else [f"vllm {version} is untested; tested: {', '.join(TESTED)}"]
    try:
        with warnings.catch_warnings():  # of a machine without a GPU, which is not what was asked
            warnings.simplefilter("ignore")
            importlib.import_module("vllm.v1.worker.gpu.model_runner")
    except Exception as error:  # whatever a package that lacks its own dependencies raises
        return [*untested, f"vllm {version} cannot be imported: {type(error).__name__}: {error}"]
    return [*untested, *problems(VLLM.symbols)]


def check_targets(targets: Iterable[str]) -> list[str]:
    """Problems of these hooked callables, by their dotted names."""
    wanted = set(targets)
    return problems(symbol for symbol in VLLM.symbols if symbol.name in wanted)
