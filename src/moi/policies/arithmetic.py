"""The functions that a policy may call: of numbers and tensors here, put in place by an implementation's own."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import FunctionType
from typing import Any

import torch
from torch import Tensor


def exp(x: Any) -> Any:
    """e^x"""
    return torch.exp(x) if isinstance(x, Tensor) else math.exp(x)


def log(x: Any) -> Any:
    """The natural logarithm; -inf of 0."""
    if isinstance(x, Tensor):
        return torch.log(x)
    return math.log(x) if x else -math.inf


def rebound(rule: Callable[..., Any], **names: Any) -> FunctionType:
    """A copy of a policy's function that finds other things under the names that it calls."""
    assert isinstance(rule, FunctionType)
    copy = FunctionType(rule.__code__, {**rule.__globals__, **names}, rule.__name__)
    copy.__qualname__ = rule.__qualname__
    return copy
