"""The vLLM engine: an in-process vLLM with the plugin `moi_vllm`, behind the engines' protocol."""

from __future__ import annotations

import atexit
import copy
import sys
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from moi.policies import policy_named
from moi_engines.base import RowEngine
from moi_engines.checkpoint import load_config, load_tokenizer
from moi_engines.end_tokens import end_ids
from moi_engines.parity_types import Types
from moi_engines.precision import placed_by_host
from moi_engines.protocol import FinishReason, TokenEvent
from moi_engines.registry import EngineSpec, Workload
from moi_engines.request import Limits, SequenceState
from moi_engines.vllm_server import server
from moi_engines.weights import check_weights

_ON_CPU = {"enforce_eager": True, "kv_cache_memory_bytes": 1 << 30}


class VLLMEngine(RowEngine):
    """Decodes with vLLM. See `moi_engines.protocol.Engine`.

    vLLM starts with the first call and keeps that call's K, entropy and prior. It starts processes of its own from the
    main script, so a script needs `if __name__ == "__main__":` around its own work.

    model              folder or hub id
    revision           branch, tag or commit of a hub id
    dtype              "auto" is float32 on the CPU and vLLM's own choice on a GPU
    trust_remote_code  run the Python that a model brings along
    mixing             False: plain requests, and nothing is said of entropy
    options            of vLLM's EngineArgs, such as tensor_parallel_size or gpu_memory_utilization

    It draws its own random numbers: seeds do not repeat those of other engines, and `noise` raises ValueError.
    """

    name = "vllm"
    batch_size = sys.maxsize  # vLLM forms its own batches
    takes_noise = False

    def __init__(
        self,
        model: str | Path,
        *,
        revision: str | None = None,
        dtype: str = "auto",
        trust_remote_code: bool = False,
        mixing: bool = True,
        **options: Any,
    ) -> None:
        self._folder, config = load_config(model, revision, trust_remote_code)
        if options.get("load_format") != "dummy":
            check_weights(self._folder)
        self.tokenizer = load_tokenizer(self._folder, trust_remote_code)
        text = config.get_text_config()
        context = options.get("max_model_len") or getattr(text, "max_position_embeddings", None)
        self.limits = Limits(text.vocab_size, context, end_ids(self._folder, config, self.tokenizer))
        if not torch.cuda.is_available():
            options = {**_ON_CPU, **options}
            dtype = "float32" if dtype == "auto" else dtype
        options = {"dtype": dtype, "trust_remote_code": trust_remote_code, **options}
        self._server = _Server(self._folder, options)
        self.mixing = mixing

    def plain(self) -> VLLMEngine:
        """Plain requests to the same vLLM, which report nothing."""
        other = copy.copy(self)
        other.mixing = False
        return other

    def close(self) -> None:
        """Stop vLLM's processes."""
        self._server.close()

    def check(self, row: SequenceState) -> None:
        """See `RowEngine`; K, entropy and prior must be those of the calls before."""
        super().check(row)
        self._server.fix((row.moi.top_k, row.moi.entropy, row.moi.prior))

    def decode_batch(self, rows: list[SequenceState]) -> Iterator[TokenEvent]:
        """See `RowEngine`: what vLLM gives after each of its steps."""
        engine = self._server.start()
        waiting: dict[str, SequenceState] = {}
        for row in rows:
            identity = f"moi-{uuid.uuid4().hex}"
            waiting[identity] = row
            engine.add_request(identity, {"prompt_token_ids": row.prompt}, _sampling(row, self._settings(row)))
        seen = dict.fromkeys(waiting, 0)
        try:
            while waiting:
                for output in engine.step():
                    identity = output.request_id
                    yield from _events(waiting[identity], output, seen[identity], self.mixing)
                    seen[identity] = len(output.outputs[0].token_ids)
                    if output.finished:
                        del waiting[identity]
        finally:
            engine.abort_request(list(waiting))

    def _settings(self, row: SequenceState) -> dict[str, Any]:
        told: dict[str, Any] = {"policy": row.moi.policy, **dict(row.moi.parameters)}
        if self.mixing:
            told["per_token"] = 1
        if policy_named(row.moi.policy).draws:
            told["seed"] = row.seed
        return {f"moi_{key}": value for key, value in told.items()}


class _Server:
    """vLLM for this process, started with the first call; engines that mix and do not mix share it."""

    def __init__(self, folder: Path, options: dict[str, Any]) -> None:
        self._folder, self._options = folder, options
        self._engine: Any = None
        self._shared: tuple[int, str, str] | None = None

    def fix(self, shared: tuple[int, str, str]) -> None:
        """K, entropy and prior of a request; ValueError if others were fixed before."""
        if self._shared not in (None, shared):
            raise ValueError(
                f"top_k, entropy and prior of this engine are {self._shared}, got {shared}; "
                "they are fixed when vLLM starts, make another engine"
            )
        self._shared = shared

    def start(self) -> Any:
        if self._engine is None:
            from vllm import EngineArgs, LLMEngine

            assert self._shared is not None
            shared = dict(zip(("top_k", "entropy", "prior"), self._shared, strict=True))
            additional = {**self._options.pop("additional_config", {}), "moi": {"policy": "token", **shared}}
            arguments = EngineArgs(model=str(self._folder), additional_config=additional, **self._options)
            self._engine = LLMEngine.from_engine_args(arguments)
            atexit.register(self.close)
        return self._engine

    def close(self) -> None:
        if self._engine is not None:
            atexit.unregister(self.close)
            self._engine.engine_core.shutdown()
            self._engine = None


def _sampling(row: SequenceState, extra: dict[str, Any]) -> Any:
    from vllm import SamplingParams

    params = row.sampling
    return SamplingParams(
        temperature=params.temperature,
        top_p=params.top_p,
        top_k=params.top_k,
        min_p=params.min_p,
        max_tokens=params.max_new_tokens,
        stop=list(params.stop),
        ignore_eos=params.ignore_eos,
        extra_args=extra,
    )


def _events(row: SequenceState, output: Any, start: int, reports: bool) -> Iterator[TokenEvent]:
    """What an output, which repeats all the tokens before it, adds."""
    choice = output.outputs[0]
    reason, ids = _reason(choice), choice.token_ids
    entropy = intervention = [0.0] * len(ids)
    if reports:
        (report,) = output.kv_transfer_params["moi"]
        entropy, intervention = report["entropy"], report["intervention"]
    for index in range(start, len(ids)):
        if row.finish_reason is not None:
            return
        event = row.append_token(ids[index], entropy[index], intervention[index])
        if reason is not None and index == len(ids) - 1 and row.finish_reason is None:
            text = event.text + row.end(reason)
            event = replace(event, text=text, finish_reason=row.finish_reason)
        yield event


def _reason(choice: Any) -> FinishReason | None:
    reason = choice.finish_reason
    if reason is None or reason == "length":
        return reason  # type: ignore[no-any-return]
    if reason == "stop":
        return "stop" if isinstance(choice.stop_reason, str) else "eos"
    raise RuntimeError(f"vLLM ended a request: {reason}")


def _problems() -> list[str]:
    from moi_vllm.contract import check_contract

    return check_contract()


def _tuned(folder: Path, workload: Workload) -> dict[str, Any]:
    options: dict[str, Any] = {"max_model_len": workload.positions, "max_num_seqs": workload.batch}
    if not any(folder.glob("*.safetensors")):
        options["load_format"] = "dummy"
    return options


def _types(model: Path) -> Types:
    if not torch.cuda.is_available():
        return Types()
    name = "float16" if load_config(model)[1].dtype == torch.float16 else "bfloat16"  # also of float32 models
    return Types(name, name)


SPEC = EngineSpec(
    "vllm",
    VLLMEngine,
    modules=("vllm", "moi_vllm"),
    extra="vllm",
    library="vllm",
    problems=_problems,
    tuned=_tuned,
    batches_itself=True,
    own_noise=True,
    random_weights=True,
    in_process=False,
    types=_types,
    placed=placed_by_host,
    baseline="the same vLLM, plain requests that report nothing",
    server=server,
    request={"vllm_xargs": {"moi_beta": 0.5}},
)
