"""The real vLLM for the tests, in processes of its own virtual environment: servers, and scripts that print JSON."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from forked import ForkServer
from moi import MoIConfig
from moi_bench.server import free_port
from moi_engines import SamplingParams
from moi_engines.parity import Cases, Output, Parity, judge
from moi_engines.parity_reference import Reference
from served import Served

PYTHON = Path(os.environ.get("MOI_TEST_VLLM") or Path(sys.prefix) / "vllm" / "bin" / "python")  # the former: any vLLM
STUBS = Path(__file__).parents[2] / "stubs_vllm"
ON_CPU = (
    *("--dtype", "float32", "--enforce-eager", "--block-size", "32", "--seed", "0"),
    *("--max-model-len", "256", "--max-num-seqs", "8", "--max-num-batched-tokens", "64"),
    *("--kv-cache-memory-bytes", "67108864", "--served-model-name", "tiny"),
)
# vLLM's attention on CPUs wants heads of 32 and more.
SIZES = {"hidden_size": 64, "head_dim": 32, "num_attention_heads": 2, "num_key_value_heads": 1}
TOKENS = 48
MODULES = (
    *("vllm.entrypoints.openai.api_server", "vllm.v1.engine.core", "vllm.v1.worker.cpu_worker"),
    "vllm.v1.worker.gpu.model_runner",
)

THINK = "<", ">"  # around a thought of the tiny models, each one token
MOI = ("--additional-config", '{"moi": {"policy": "token"}}')


@pytest.fixture(scope="session", autouse=True)
def _vllm_installed() -> None:
    if not PYTHON.parents[1].joinpath(".installed").is_file():
        pytest.skip("needs vLLM in a virtual environment of its own: make test makes .venv/vllm")


def environment(**changes: str) -> dict[str, str]:
    """Of a process that runs vLLM on a CPU."""
    kept = {key: value for key, value in os.environ.items() if key not in ("MOI_ENABLE", "PYTHONPATH")}
    return kept | {
        "PYTHONPATH": str(STUBS),
        "TRITON_INTERPRET": "1",
        "TRITON_DEFAULT_BACKEND": "cpu",
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
        "VLLM_USE_V2_MODEL_RUNNER": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_PLUGINS": "moi",
        "PYTHONWARNINGS": "ignore",
        **changes,
    }


class Ask:
    """Requests that the test modules share."""

    def __init__(self, base_seed: int) -> None:
        self._seed = base_seed

    def random(self, name: str) -> random.Random:
        """The random numbers of this name, drawn anew in each run."""
        return random.Random(f"{self._seed}/vllm/{name}")

    def prompts(self, name: str, count: int = 8) -> list[list[int]]:
        rng = self.random(name)
        return [[rng.randrange(2, 258) for _ in range(rng.choice([3, 9, 17, 40, 75]))] for _ in range(count)]

    @staticmethod
    def xargs(settings: dict[str, Any] | None) -> dict[str, Any]:
        """Of a request with these settings of MoI."""
        return {} if settings is None else {"vllm_xargs": {f"moi_{key}": value for key, value in settings.items()}}

    @staticmethod
    def config(settings: dict[str, Any] | None) -> MoIConfig:
        """What the settings mean on a server whose default is plain decoding."""
        if settings is None:
            return MoIConfig("token")
        return MoIConfig.from_dict({k: v for k, v in settings.items() if k not in ("per_token", "until", "seed")})


@pytest.fixture(scope="session")
def ask(base_seed: int) -> Ask:
    return Ask(base_seed)


@pytest.fixture(scope="session")
def vllm_model(random_model: Callable[..., Path]) -> Callable[[str], Path]:
    """vllm_model("qwen3") -> the folder of a tiny model of that architecture, drawn for this run."""
    return lambda architecture: random_model(architecture, **SIZES)


@pytest.fixture(scope="session")
def fork_server() -> Iterator[ForkServer]:
    with ForkServer(PYTHON, MODULES, environment()) as server:
        yield server


class Server(Served):
    """A running vLLM and a client for it."""

    def __init__(
        self, fork_server: ForkServer, model: Path, flags: Sequence[str], variables: dict[str, str], log: Path
    ) -> None:
        self.model = model
        port = free_port()
        serve = ["-m", "vllm.entrypoints.openai.api_server", "--model", str(model)]
        command = [*serve, "--host", "127.0.0.1", "--port", str(port), *ON_CPU, *flags]
        super().__init__(lambda out: fork_server.start(command, environment(**variables), out), port, log)

    def complete(self, prompt: Any, settings: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
        """POST /v1/completions, greedy unless `fields` say otherwise; fails the test unless it is answered."""
        body = {
            **{"model": "tiny", "prompt": prompt, "max_tokens": TOKENS, "temperature": 0, "ignore_eos": True},
            **{"return_token_ids": True, "return_tokens_as_token_ids": True},
            **Ask.xargs(settings),
            **fields,
        }
        status, text = self.request("POST", "/v1/completions", body)
        assert status == 200, text
        answer: dict[str, Any] = json.loads(text)
        return answer

    def all(self, prompts: Sequence[Any], settings: Sequence[Any], **fields: Any) -> list[dict[str, Any]]:
        """Answers of requests that run at the same time."""
        with ThreadPoolExecutor(len(prompts)) as threads:
            asked = [
                threads.submit(self.complete, prompt, each, **fields)
                for prompt, each in zip(prompts, settings, strict=True)
            ]
            return [each.result() for each in asked]

    def reset(self) -> None:
        """Empty the prefix cache."""
        status, text = self.request("POST", "/reset_prefix_cache")
        assert status == 200, text

    def counter(self, name: str) -> float:
        """Of vLLM's own: "num_preemptions"."""
        status, text = self.request("GET", "/metrics")
        assert status == 200, text
        (count,) = re.findall(rf"^vllm:{name}_total\{{[^}}]*\}} (\S+)$", text, re.MULTILINE)
        return float(count)


@pytest.fixture(scope="session")
def make_server(
    fork_server: ForkServer, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., contextlib.AbstractContextManager[Server]]:
    """make_server(model, "--flag", ..., VARIABLE="value") starts a server for a with block."""

    @contextlib.contextmanager
    def make(model: Path, *flags: str, **env: str) -> Iterator[Server]:
        server = Server(fork_server, model, flags, env, tmp_path_factory.mktemp("vllm") / "log")
        try:
            yield server
        finally:
            server.stop()

    return make


@pytest.fixture(scope="session")
def moi_server(make_server: Any, vllm_model: Any) -> Iterator[Server]:
    """MoI for requests that ask, asynchronous scheduling on, prompts prefilled in chunks."""
    flags = (*MOI, "--reasoning-config", json.dumps({"reasoning_start_str": THINK[0], "reasoning_end_str": THINK[1]}))
    with make_server(vllm_model("llama"), *flags, MOI_TEST_ASYNC="1", VLLM_SERVER_DEV_MODE="1") as server:
        yield server


@pytest.fixture(scope="session")
def vllm_env() -> Callable[..., dict[str, str]]:
    return environment


@pytest.fixture(scope="session")
def run_child(fork_server: ForkServer) -> Callable[..., Any]:
    """run_child("name.py", argument, VARIABLE="value") -> the JSON that this script of the folder printed last."""

    def run(name: str, *arguments: Any, **variables: str) -> Any:
        command = [str(Path(__file__).parent / name), *map(str, arguments)]
        return fork_server.printed(command, environment(**variables))

    return run


def told(answer: dict[str, Any], choice: int = 0) -> dict[str, Any] | None:
    """What a response says of a choice's mixing."""
    reports = (answer.get("kv_transfer_params") or {}).get("moi")
    return None if reports is None else reports[choice]


def output_of(answer: dict[str, Any], choice: int = 0) -> Output:
    """A choice as `moi_engines.parity` takes it; entropies and interventions where they are told per token."""
    moi = told(answer, choice) or {}
    return Output(answer["choices"][choice]["token_ids"], None, moi.get("entropy"), moi.get("intervention"))


class Agree:
    """agree(folder, prompts, settings, answers): fails unless answers are as the torch engine decodes.

    `params` are those of SamplingParams; `outputs` may stand instead of answers, `mixes` is that of Cases.
    """

    def __init__(self) -> None:
        self._references: dict[Path, Reference] = {}

    def __call__(self, *args: Any, **given: Any) -> None:
        found = self.judge(*args, **given)
        assert found.agrees, str(found)

    def judge(
        self,
        folder: Path,
        prompts: Sequence[Sequence[int]],
        settings: Sequence[dict[str, Any] | None],
        answers: Sequence[Any],
        mixes: Any = None,
        **params: Any,
    ) -> Parity:
        if folder not in self._references:
            self._references[folder] = Reference(folder)
        outputs = [each if isinstance(each, Output) else output_of(each) for each in answers]
        seeds = [0 if isinstance(each, Output) else (told(each) or {}).get("seed", 0) for each in answers]
        sampling = [
            SamplingParams(
                **{
                    "temperature": 0.0,
                    "ignore_eos": True,
                    "max_new_tokens": len(output.token_ids),
                    "seed": seed,
                    **params,
                }
            )
            for output, seed in zip(outputs, seeds, strict=True)
        ]
        cases = Cases(prompts, sampling, [Ask.config(each) for each in settings], own_noise=True, mixes=mixes)
        return judge(self._references[folder], cases, outputs)


@pytest.fixture(scope="session")
def agree() -> Agree:
    return Agree()
