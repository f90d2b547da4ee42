"""All that this plugin knows of vLLM. No other file names its modules, its attributes or what it calls them with.

Each file declares what it hooks, calls and reads, beside the functions that do it, which give it our names. The
contract is made of these declarations; names are below "vllm.". docs/vllm.md says what they mean.

server     the configuration, and the model it names
requests   a request from where it enters to its response, in the front end and in the engine core
worker     the model runner, its batches and its sampler
model      the model and its input embedding
"""

from collections.abc import Callable
from typing import Any, TypeVar

from moi_serving.contract import Contract

_T = TypeVar("_T")
Read = Callable[[Any], _T]  # of a field of one of vLLM's objects

VLLM = Contract("vllm.")

_OURS = "moi"


def attach(owner: Any, value: Any) -> None:
    """Keep what is ours on one of vLLM's objects: a process may have several of a class."""
    setattr(owner, _OURS, value)


def attached(owner: Any) -> Any:
    """What was attached, or None."""
    return getattr(owner, _OURS, None)
