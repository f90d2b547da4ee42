"""Our wrappers on the real classes of the TensorRT-LLM that is installed, without a GPU: for `moi doctor`.

The contract compares declarations; here the classes are made, registered, copied and sent as TensorRT-LLM does it.
"""

from __future__ import annotations

import copy
import importlib
import inspect
import pickle
from collections.abc import Iterator

from moi_tensorrt_llm.contract import ATTENTION_BACKENDS, FORWARD, check_contract
from moi_tensorrt_llm.processor import logits_processors
from moi_tensorrt_llm.registration import ARCHITECTURES, found, register_models
from moi_tensorrt_llm.worker import worker_state


def wrapper_problems() -> list[str]:
    """What does not hold, in words; empty where all does. Registers the models in this process.

    Where the contract does not hold, that is all that is told.
    """
    if problems := check_contract():
        return problems
    try:
        register_models()
        return [*_models(), *_metadata(), *_processors()]
    except Exception as error:  # whatever a version does that nobody has seen
        return [f"the wrappers fail on this TensorRT-LLM: {type(error).__name__}: {error}"]


def _models() -> Iterator[str]:
    from tensorrt_llm._torch.models.modeling_utils import MODEL_CLASS_MAPPING

    ours = importlib.import_module("moi_tensorrt_llm.registered_models")
    for name in ARCHITECTURES:
        model = getattr(ours, name)
        if MODEL_CLASS_MAPPING.get(name) is not model:
            yield f"{name} is registered as {MODEL_CLASS_MAPPING.get(name)!r}, not as ours"
        if pickle.loads(pickle.dumps(model)) is not model:
            yield f"{name} does not come back from a pickle as itself"
        taken = tuple(inspect.signature(model.__mro__[1].forward).parameters)[1 : len(FORWARD) + 1]
        if taken != FORWARD:
            yield f"{name}.forward takes ({', '.join(taken)}) first, not ({', '.join(FORWARD)})"


def _metadata() -> Iterator[str]:
    for name, places in ATTENTION_BACKENDS.items():
        metadata = getattr(found(places), "Metadata", None)
        if metadata is None:
            continue
        if getattr(metadata, "moi_state", None) is not worker_state():
            yield f"attn_backend={name} makes {metadata.__module__}.{metadata.__name__}, which is not tracked"
        elif type(copy.copy(object.__new__(metadata))) is not metadata:
            yield f"a copy of {metadata.__name__} is of another class"


def _processors() -> Iterator[str]:
    from tensorrt_llm import SamplingParams

    processors = logits_processors()
    params = SamplingParams(logits_processor=processors)
    if params.logits_processor is not processors:
        yield "SamplingParams does not keep the list of logits processors that it is given"
    sent = pickle.loads(pickle.dumps(params)).logits_processor
    if not (isinstance(sent, list) and sent[0].leaves(sent)):
        yield "a processor that was sent with its SamplingParams does not know the list that it is in"
