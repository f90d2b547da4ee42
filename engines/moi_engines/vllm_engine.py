"""The vLLM engine: an in-process vLLM with the plugin `moi_vllm`, behind the engines' protocol."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import torch

from moi.policies import policy_named
from moi_engines.checkpoint import load_config
from moi_engines.hosted_engine import Host, HostedEngine, events
from moi_engines.parity_types import Types
from moi_engines.precision import placed_by_host
from moi_engines.protocol import FinishReason, TokenEvent
from moi_engines.registry import EngineSpec, Workload
from moi_engines.request import SequenceState
from moi_engines.vllm_server import server

_ON_CPU = {"enforce_eager": True, "kv_cache_memory_bytes": 1 << 30}


class VLLMEngine(HostedEngine):
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
    _host: _VLLM

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
        folder = self._load(model, revision, trust_remote_code, options, "max_model_len")
        if not torch.cuda.is_available():
            options = {**_ON_CPU, **options}
            dtype = "float32" if dtype == "auto" else dtype
        options = {"dtype": dtype, "trust_remote_code": trust_remote_code, **options}
        self._host = _VLLM(folder, options)
        self.mixing = mixing

    def decode_batch(self, rows: list[SequenceState]) -> Iterator[TokenEvent]:
        """See `RowEngine`: what vLLM gives after each of its steps."""
        waiting = dict[str, SequenceState]()
        try:
            for row in rows:
                waiting[self._host.add(row.prompt, _sampling(row, self._settings(row)))] = row
            seen = dict.fromkeys(waiting, 0)
            while waiting:
                for identity, output, count in self._host.take(waiting):
                    yield from self._events(waiting[identity], output, seen[identity], count)
                    seen[identity] = count
                    if output.finished:
                        del waiting[identity]
        finally:
            self._host.abort(waiting)

    def _events(self, row: SequenceState, output: Any, start: int, end: int) -> Iterator[TokenEvent]:
        """Of tokens start..end-1 of an output, which repeats all those before it."""
        choice = output.outputs[0]
        entropy = intervention = [0.0] * end
        if self.mixing:
            (report,) = output.kv_transfer_params["moi"]
            entropy, intervention = report["entropy"], report["intervention"]
        return events(row, choice.token_ids[:end], start, _reason(choice), entropy, intervention)

    def _settings(self, row: SequenceState) -> dict[str, Any]:
        told: dict[str, Any] = {"policy": row.moi.policy, **dict(row.moi.parameters)}
        if self.mixing:
            told["per_token"] = 1
        if policy_named(row.moi.policy).draws:
            told["seed"] = row.seed
        return {f"moi_{key}": value for key, value in told.items()}


class _VLLM(Host):
    """vLLM, whose streams may be open at once: each takes what came of its own requests, whichever made vLLM step."""

    name = "vLLM"

    def __init__(self, folder: Path, options: dict[str, Any]) -> None:
        super().__init__(folder, options)
        self._running = set[str]()
        self._outputs = dict[str, tuple[Any, int]]()  # that nobody took yet, with the number of their tokens

    def add(self, prompt: list[int], sampling: Any) -> str:
        """A request; returns its identity."""
        identity = f"moi-{uuid.uuid4().hex}"
        self.start().add_request(identity, {"prompt_token_ids": prompt}, sampling)
        self._running.add(identity)
        return identity

    def take(self, identities: Collection[str]) -> list[tuple[str, Any, int]]:
        """What is new of these requests: identity, output and how many tokens it has. Steps where nothing is.

        An output repeats those before it, so the last one stands for all that were not taken. vLLM goes on appending
        to its list of tokens. RuntimeError where vLLM was closed meanwhile.
        """
        while not (new := [each for each in identities if each in self._outputs]):
            if not self._running.issuperset(identities):
                raise RuntimeError("vLLM was closed before these requests ended")
            for output in self._engine.step():
                if output.request_id in self._running:
                    self._outputs[output.request_id] = output, len(output.outputs[0].token_ids)
        taken = [(each, *self._outputs.pop(each)) for each in new]
        self._running.difference_update(each for each, output, _ in taken if output.finished)
        return taken

    def abort(self, identities: Collection[str]) -> None:
        """End those of these requests that run."""
        if running := self._running.intersection(identities):
            self._engine.abort_request(list(running))
            self._running -= running
            for each in running:
                self._outputs.pop(each, None)

    def _launch(self, shared: dict[str, Any]) -> Any:
        from vllm import EngineArgs, LLMEngine

        options = {**self._options}
        additional = {**options.pop("additional_config", {}), "moi": {"policy": "token", **shared}}
        arguments = EngineArgs(model=str(self._folder), additional_config=additional, **options)
        return LLMEngine.from_engine_args(arguments)

    def _shut_down(self, engine: Any) -> None:
        engine.engine_core.shutdown()
        self._running.clear()
        self._outputs.clear()


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
