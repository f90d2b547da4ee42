"""Holds an installed SGLang against what `moi_sglang.host` declares."""

from __future__ import annotations

import importlib
import importlib.metadata
import warnings

from moi_serving.contract import problems
from moi_sglang.host import SGLANG, batches, model, requests, server

TESTED = ("0.5.23",)
_DECLARING = (batches, model, requests, server)  # imported, they have declared all


def check_contract() -> list[str]:
    """Problems of the installed SGLang, one line each; empty when everything this plugin needs is there."""
    try:
        version = importlib.metadata.version("sglang")
    except importlib.metadata.PackageNotFoundError:
        return ["sglang is not installed"]
    untested = [] if version in TESTED else [f"sglang {version} is untested; tested: {', '.join(TESTED)}"]
    try:
        with warnings.catch_warnings():  # of a machine without a GPU, which is not what was asked
            warnings.simplefilter("ignore")
            importlib.import_module("sglang.srt.managers.scheduler")  # the rest comes with it
    except Exception as error:  # whatever a package that lacks its own dependencies raises
        return [*untested, f"sglang {version} cannot be imported: {type(error).__name__}: {error}"]
    return [*untested, *problems(SGLANG.symbols)]
