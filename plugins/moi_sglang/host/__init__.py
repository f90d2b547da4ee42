"""All that this plugin knows of SGLang. No other file names its modules, its attributes or what it calls them with.

Each file declares what it hooks, calls and reads, beside the functions that do it, which give it our names. The
contract is made of these declarations; names are below "sglang.srt.". docs/sglang.md says what they mean.

server     arguments, the model they name, and SGLang's registry of hooks
requests   from the request's entry to its response, and its KV
model      the model runner and the input embedding
batches    what is scheduled, computed and sampled
"""

from collections.abc import Callable
from typing import Any, TypeVar

from moi_serving.contract import Contract

_T = TypeVar("_T")
Read = Callable[[Any], _T]  # of a field of one of SGLang's objects

SGLANG = Contract("sglang.srt.")
