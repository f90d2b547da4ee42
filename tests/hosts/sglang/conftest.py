"""Real SGLang servers for the tests, each in its own process.

An engine is never built in the test process: when a scheduler dies, SGLang kills the tree of processes it is in.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from documented import server_flags
from forked import ForkServer
from moi import MoIConfig
from moi_bench.server import LAUNCHES, free_port
from moi_engines import SamplingParams
from moi_engines.parity import Cases, Output, Parity, judge
from moi_engines.parity_reference import Reference
from served import Served

STUBS = Path(__file__).parents[2] / "stubs_sglang"
PLACES = 16  # for running requests
AHEAD = 128  # the first token of those that take the places; prompts hold lower ones
ON_CPU = (
    *(*LAUNCHES["sglang"].flags, *LAUNCHES["sglang"].on_cpu),
    *("--random-seed", "0", "--sleep-on-idle", "--max-running-requests", str(PLACES), "--context-length", "512"),
)

LAUNCH = "python -m sglang.launch_server --model-path"
TOKENS = 64
MODULES = (
    *("sglang.srt.entrypoints.http_server", "sglang.srt.managers.scheduler", "sglang.srt.managers.detokenizer_manager"),
    "sglang.srt.models.registry",
)
# Variables that SGLang reads while it is imported.
AT_IMPORT = {"SGLANG_TEST_RETRACT", "SGLANG_TEST_RETRACT_INTERVAL", "SGLANG_CLIP_MAX_NEW_TOKENS_ESTIMATION"}


def mixes(before: Sequence[int], token: int, end: int, start: int) -> bool:
    """Whether `token` is fed as a mixture: the last mark before it decides, and the one that ends mixing is plain."""
    seen = [mark for mark in before if mark in (end, start)]
    return token != end and (not seen or seen[-1] == start)


def mixed_tokens(prompt: Sequence[int], tokens: Sequence[int], end: int, start: int = -1) -> int:
    """The tokens that are fed as mixtures: not the last, which is not fed."""
    return sum(mixes([*prompt, *tokens[:at]], tokens[at], end, start) for at in range(len(tokens) - 1))


class Ask:
    """Requests that the test modules share, and what SGLang has to tell of them."""

    mixed_tokens = staticmethod(mixed_tokens)

    def __init__(self, base_seed: int) -> None:
        self._seed = base_seed

    def random(self, name: str) -> random.Random:
        """The random numbers of this name, drawn anew in each run."""
        return random.Random(f"{self._seed}/{name}")

    def prompts(self, name: str, count: int = 8, low: int = 2, high: int = 115) -> list[list[int]]:
        rng = self.random(name)
        return [[rng.randrange(low, high) for _ in range(rng.choice([3, 9, 17, 40, 75]))] for _ in range(count)]

    def unlike_prompts(self, name: str, count: int = 8) -> list[list[int]]:
        """As `prompts`; no two begin with the same token."""
        firsts = self.random(f"{name}/first").sample(range(2, 115), count)
        return [[first, *prompt[1:]] for first, prompt in zip(firsts, self.prompts(name, count), strict=True)]

    @staticmethod
    def greedy(settings: dict[str, Any] | None, **changes: Any) -> dict[str, Any]:
        params = {"temperature": 0, "max_new_tokens": TOKENS, "ignore_eos": True, **changes}
        return params if settings is None else {**params, "custom_params": {"moi": settings}}

    @staticmethod
    def config(settings: dict[str, Any] | None) -> MoIConfig:
        """What the settings mean on a server without flags."""
        return MoIConfig.from_dict({key: value for key, value in (settings or {}).items() if key != "per_token"})


@pytest.fixture(scope="session")
def ask(base_seed: int) -> Ask:
    return Ask(base_seed)


@pytest.fixture(scope="session", autouse=True)
def _sglang_installed() -> None:
    if find_spec("sglang") is None:
        pytest.skip("needs SGLang: pip install --no-deps -r tests/hosts/sglang/requirements.txt")


def environment(**changes: str) -> dict[str, str]:
    """Of a process that runs SGLang on a CPU."""
    mine = {"TRITON_INTERPRET", "MOI_ENABLE"}  # the interpreter is for the kernels' tests
    return {key: value for key, value in os.environ.items() if key not in mine} | {
        "PYTHONPATH": str(STUBS),
        **LAUNCHES["sglang"].variables,
        "OMP_NUM_THREADS": "1",
        "TORCH_COMPILE_DISABLE": "1",
        "HF_HUB_OFFLINE": "1",
        "PYTHONWARNINGS": "ignore",
        **changes,
    }


@pytest.fixture(scope="session")
def fork_server() -> Iterator[ForkServer]:
    with ForkServer(sys.executable, MODULES, environment()) as server:
        yield server


@pytest.fixture(scope="session")
def run_child(fork_server: ForkServer) -> Callable[..., Any]:
    """run_child("name.py", argument) -> the JSON that this script of the folder printed last."""

    def run(name: str, *arguments: Any) -> Any:
        command = [str(Path(__file__).parent / name), *map(str, arguments)]
        return fork_server.printed(command, environment())

    return run


class Server(Served):
    """A running server and a client for it."""

    def __init__(
        self, fork_server: ForkServer, model: Path, flags: Sequence[str], variables: dict[str, str], log: Path
    ) -> None:
        self.model = model
        port = free_port()
        command = [*shlex.split(LAUNCH)[1:], str(model), "--port", str(port), *ON_CPU, *flags]
        forked = not AT_IMPORT & variables.keys()
        super().__init__(
            lambda out: fork_server.start(command, environment(**variables), out, forked=forked), port, log
        )

    def generate(self, prompts: Any, params: Any, **fields: Any) -> Any:
        """POST /generate for token ids, one or a batch; fails the test unless it is answered."""
        status, text = self.request("POST", "/generate", {"input_ids": prompts, "sampling_params": params, **fields})
        assert status == 200, text
        return json.loads(text)

    def generate_at_once(self, prompts: list[Any], params: list[Any], **fields: Any) -> Any:
        """As `generate`, for a batch whose requests enter the same prefill and the same steps, on any machine and
        whatever was asked before.

        The scheduler takes what has come when it looks, so the requests of one body may start in two batches, and what
        a row sums up depends on how many rows are beside it. Here they wait until the last has come, behind plain
        requests that take every place and are then aborted. No prompt begins as another text that is cached, those
        ahead and its neighbours among them: when a chunk of it is cached, it takes the keys and values of the other's
        first tokens, which another batch summed up.
        """
        self.flush()
        ahead = [[AHEAD + index] * 3 for index in range(PLACES)]
        firsts = {prompt[0] for prompt in prompts}
        assert len(firsts) == len(prompts), "first tokens must differ"
        assert max(firsts) < AHEAD
        taken = {"sampling_params": {"temperature": 0, "max_new_tokens": 500, "ignore_eos": True}}
        # They leave in one step: an abort is of all requests whose id begins as it says, if there is one of that id.
        rids = ["ahead", *(f"ahead-{number}" for number in range(1, PLACES))]
        with ThreadPoolExecutor(2) as pool:
            places = pool.submit(self.request, "POST", "/generate", {"input_ids": ahead, "rid": rids, **taken})
            self._await_load(places, running=PLACES, waiting=0)
            answer = pool.submit(self.generate, prompts, params, **fields)
            self._await_load(places, running=PLACES, waiting=len(prompts))
            assert self.request("POST", "/abort_request", {"rid": "ahead"})[0] == 200
            ended = [each["meta_info"]["finish_reason"]["type"] for each in json.loads(places.result()[1])]
            assert ended == ["abort"] * PLACES
            return answer.result()

    def _await_load(self, places: Future[Any], running: int, waiting: int) -> None:
        """Return when so many requests run and wait; fails the test if those that take the places have ended."""
        while not places.done():
            (load,) = json.loads(self.request("GET", "/v1/loads?include=core")[1])["loads"]
            if (load["num_running_reqs"], load["num_waiting_reqs"]) == (running, waiting):
                return
        pytest.fail(f"the requests ahead ended before {running} ran and {waiting} waited: {places.result()}")

    def flush(self) -> None:
        """Wait until nothing runs, and empty the prefix cache."""
        status, text = self.request("POST", "/flush_cache?timeout=30")
        assert status == 200, text


@pytest.fixture(scope="session")
def make_server(
    fork_server: ForkServer, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., contextlib.AbstractContextManager[Server]]:
    """make_server(model, "--flag", ..., VARIABLE="value") starts a server for a with block."""

    @contextlib.contextmanager
    def make(model: Path, *flags: str, **env: str) -> Iterator[Server]:
        server = Server(fork_server, model, flags, env, tmp_path_factory.mktemp("sglang") / "log")
        try:
            yield server
        finally:
            server.stop()

    return make


@pytest.fixture(scope="session")
def retracting_server(make_server: Any, random_model: Callable[..., Path]) -> Iterator[Server]:
    """Short of memory, retracts a request every fifth step besides, and prefills in chunks of 16."""
    flags = ("--enable-moi", "--chunked-prefill-size", "16", "--max-total-tokens", "480")
    env = {
        "SGLANG_TEST_RETRACT": "1",
        "SGLANG_TEST_RETRACT_INTERVAL": "5",
        "SGLANG_CLIP_MAX_NEW_TOKENS_ESTIMATION": "1",
    }
    with make_server(random_model("qwen3"), *flags, **env) as server:
        yield server


@pytest.fixture(scope="session")
def sglang_env() -> Callable[..., dict[str, str]]:
    return environment


def mixes_where(
    marks: Sequence[tuple[int, int]], prompts: Sequence[Sequence[int]], outputs: Sequence[dict[str, Any]]
) -> Callable[[int, int], bool]:
    """`Cases.mixes` of rows that mix while they are open: `marks[row]` are the tokens that end mixing and let it begin
    again, or -1.
    """

    def mixing(row: int, step: int) -> bool:
        given = outputs[row]["output_ids"]
        return mixes([*prompts[row], *given[:step]], given[step], *marks[row])

    return mixing


class Agree:
    """agree(folder, prompts, configs, outputs): fails unless outputs of /generate are as the torch engine decodes;
    entropies and interventions are judged where they are told per token. `params` are those of SamplingParams,
    `lengths` the max_new_tokens of each, `marks` as `mixes_where` has them.

    Rounding may decide most tokens of a row of low beta: judge it together with others, or take a higher beta.
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
        configs: Sequence[MoIConfig],
        outputs: Sequence[Any],
        marks: Sequence[tuple[int, int]] | None = None,
        lengths: Sequence[int] | None = None,
        **params: Any,
    ) -> Parity:
        if folder not in self._references:
            self._references[folder] = Reference(folder)
        settings: dict[str, Any] = {"temperature": 0.0, "max_new_tokens": TOKENS, "ignore_eos": True, **params}
        shared = [SamplingParams(**settings)] * len(prompts)
        sampling = (
            [replace(each, max_new_tokens=n) for each, n in zip(shared, lengths, strict=True)] if lengths else shared
        )
        seeds = [_summary(output).get("seed", 0) for output in outputs]
        sampling = [replace(each, seed=seed) for each, seed in zip(sampling, seeds, strict=True)]
        mixing = None if marks is None else mixes_where(marks, prompts, outputs)
        cases = Cases(prompts, sampling, configs, own_noise=True, mixes=mixing)
        return judge(self._references[folder], cases, [_told(output) for output in outputs])


@pytest.fixture(scope="session")
def agree() -> Agree:
    return Agree()


def _summary(output: dict[str, Any]) -> dict[str, Any]:
    """meta_info["moi"]; nothing of a plain request, or where tokenizer workers load no plugins and leave a list."""
    told = output["meta_info"].get("moi")
    return told if isinstance(told, dict) else {}


def _told(output: dict[str, Any]) -> Output:
    moi = _summary(output)
    return Output(output["output_ids"], None, moi.get("entropy"), moi.get("intervention"))


@pytest.fixture(scope="session")
def qwen2(random_model: Callable[..., Path]) -> Path:
    folder: Path = random_model("qwen2")
    return folder


@pytest.fixture(scope="session")
def moi_server(make_server: Any, qwen2: Path) -> Iterator[Server]:
    """As docs/sglang.md says: MoI and overlap scheduling on; prompts prefilled in chunks, metrics published."""
    flags = server_flags("sglang.md", LAUNCH)
    with make_server(qwen2, *flags, "--chunked-prefill-size", "32", "--enable-metrics") as server:
        yield server


@pytest.fixture(scope="session")
def second_server(make_server: Any, qwen2: Path) -> Iterator[Server]:
    """The same model again, behind routers; the last test of test_sglang_smg.py kills it."""
    with make_server(qwen2, "--enable-moi", "--enable-metrics") as server:
        yield server


@pytest.fixture(scope="session")
def plain_server(make_server: Any, qwen2: Path) -> Iterator[Server]:
    """The same without the plugin."""
    with make_server(qwen2, "--chunked-prefill-size", "32", SGLANG_PLUGINS="none") as server:
        yield server
