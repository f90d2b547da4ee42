"""The SGLang engine: an in-process SGLang with the plugin `moi_sglang`, behind the engines' protocol."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from moi.policies import policy_named
from moi_engines.checkpoint import load_config
from moi_engines.hosted_engine import Host, HostedEngine, events
from moi_engines.parity_types import Types
from moi_engines.precision import device_here, dtype_here, placed_by_host
from moi_engines.protocol import FinishReason, TokenEvent
from moi_engines.registry import EngineSpec, Workload
from moi_engines.request import SequenceState
from moi_engines.sglang_server import server

_ON_CPU = {"attention_backend": "torch_native", "disable_cuda_graph": True}
# Of its context length SGLang leaves so many positions unused; it would cut a longer text short without a word.
RESERVED = 2


class SGLangEngine(HostedEngine):
    """Decodes with SGLang. See `moi_engines.protocol.Engine`.

    SGLang starts with the first call and keeps that call's K, entropy and prior. Its processes are started
    anew from the main script, so a script needs `if __name__ == "__main__":` around its own work.

    model              folder, hub id or GGUF file
    revision           branch, tag or commit of a hub id
    device             "auto" takes a GPU if there is one
    dtype              "auto" is float32 on the CPU and the model's own on a GPU
    trust_remote_code  run the Python that a model brings along
    mixing             False: plain requests, and nothing is said of entropy
    options            of `sglang.Engine`, such as tp_size or mem_fraction_static

    It draws its own random numbers: seeds do not repeat those of other engines, and `noise` raises ValueError.
    """

    name = "sglang"

    def __init__(
        self,
        model: str | Path,
        *,
        revision: str | None = None,
        device: str = "auto",
        dtype: str = "auto",
        trust_remote_code: bool = False,
        mixing: bool = True,
        **options: Any,
    ) -> None:
        folder = self._load(model, revision, trust_remote_code, options, "context_length")
        if self.limits.positions is not None:
            self.limits = replace(self.limits, positions=self.limits.positions - RESERVED)
        device = device_here(device)
        if device == "cpu":
            options = {**_ON_CPU, **options}
            dtype = dtype_here(dtype, device)
        options = {"device": device, "dtype": dtype, "trust_remote_code": trust_remote_code, **options}
        self._host = _SGLang(folder, options)
        self.mixing = mixing

    def decode_batch(self, rows: list[SequenceState]) -> Iterator[TokenEvent]:
        """See `RowEngine`: what SGLang streams."""
        chunks = self._host.start().generate(
            input_ids=[row.prompt for row in rows],
            sampling_params=[{**_sampling(row), "custom_params": {"moi": self._settings(row)}} for row in rows],
            stream=True,
        )
        seen = [0] * len(rows)
        for chunk in chunks:
            row = rows[chunk.get("index", 0)]
            entropy, intervention = self._report(chunk)
            ids = chunk["output_ids"][: len(entropy)]  # SGLang goes on appending to that list
            reason = _reason(chunk["meta_info"]["finish_reason"])
            yield from events(row, ids, seen[row.index], reason, entropy, intervention)
            seen[row.index] = len(entropy)

    def _settings(self, row: SequenceState) -> dict[str, Any]:
        told: dict[str, Any] = {"per_token": True} if self.mixing else {}
        if policy_named(row.moi.policy).draws:
            told["seed"] = row.seed
        return {"policy": row.moi.policy, **dict(row.moi.parameters), **told}

    def _report(self, chunk: dict[str, Any]) -> tuple[list[float], list[float]]:
        """Entropy and intervention of each token so far."""
        if not self.mixing:
            nothing = [0.0] * len(chunk["output_ids"])
            return nothing, nothing
        moi = chunk["meta_info"]["moi"]
        return moi["entropy"], moi["intervention"]


class _SGLang(Host):
    name = "SGLang"

    def _launch(self, shared: dict[str, Any]) -> Any:
        if self._options["device"] == "cpu":
            os.environ.setdefault("SGLANG_USE_CPU_ENGINE", "1")
        import sglang

        mixing = {f"moi_{name}": value for name, value in shared.items()}
        return sglang.Engine(model_path=str(self._folder), enable_moi=True, **mixing, **self._options)

    def _shut_down(self, engine: Any) -> None:
        engine.shutdown()


def _sampling(row: SequenceState) -> dict[str, Any]:
    params = row.sampling
    return {
        "temperature": params.temperature,
        "top_p": params.top_p,
        "top_k": params.top_k or -1,
        "min_p": params.min_p,
        "max_new_tokens": params.max_new_tokens,
        "stop": list(params.stop),
        "ignore_eos": params.ignore_eos,
    }


def _reason(finish: dict[str, Any] | None) -> FinishReason | None:
    if finish is None:
        return None
    if finish["type"] == "length":
        return "length"
    if finish["type"] == "stop":
        return "stop" if isinstance(finish.get("matched"), str) else "eos"
    raise RuntimeError(f"SGLang ended a request: {finish.get('message', finish)}")


def _problems() -> list[str]:
    from moi_sglang.contract import check_contract

    return check_contract()


def _tuned(folder: Path, workload: Workload) -> dict[str, Any]:
    context = workload.positions + RESERVED
    options: dict[str, Any] = {"context_length": context, "max_running_requests": workload.batch}
    options["log_level"] = "error"
    if not any(folder.glob("*.safetensors")):
        options["load_format"] = "dummy"
    if not torch.cuda.is_available():
        options["max_total_tokens"] = workload.batch * context
    return options


def _types(model: Path) -> Types:
    if not torch.cuda.is_available():
        return Types()
    own = load_config(model)[1].dtype
    name = "bfloat16" if own == torch.bfloat16 else "float16"  # SGLang serves float32 models in float16
    return Types(name, name)


SPEC = EngineSpec(
    "sglang",
    SGLangEngine,
    modules=("sglang", "moi_sglang"),
    extra="sglang",
    library="sglang",
    problems=_problems,
    tuned=_tuned,
    batches_itself=True,
    own_noise=True,
    random_weights=True,
    in_process=False,
    types=_types,
    placed=placed_by_host,
    baseline="the same server, plain requests that report nothing",
    server=server,
)
