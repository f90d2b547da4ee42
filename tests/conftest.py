"""What every test shares: Triton's interpreter where there is no GPU, one thread, tiny models made once.

Tests of parity draw models, prompts and noise anew in each run: MOI_TEST_SEED repeats one. MOI_TEST_THREADS runs
torch with more threads than one.
"""

from __future__ import annotations

import gc
import logging
import os
import random
import secrets
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from installed_package import install_package
from moi import MoIConfig
from moi.cache_folder import cache_folder
from moi_engines import SamplingParams
from moi_engines.parity import Cases
from moi_engines.testing import save_tiny_model

if not torch.cuda.is_available():  # read by Triton when it is first imported
    os.environ.setdefault("TRITON_INTERPRET", "1")
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # of tests that run in the background; programs would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)
os.environ["HF_HUB_OFFLINE"] = "1"  # no test asks the network; read when huggingface_hub is first imported
# torch would take from its cache what it compiled for a processor that could do more.
_CAPABILITY = torch.backends.cpu.get_cpu_capability()
os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", f"{tempfile.gettempdir()}/torchinductor-{os.getuid()}-{_CAPABILITY}")
# pytest takes the records of every logger that does not propagate, and torch writes a trace, a seventh of an export's
# time, for whoever takes them.
logging.getLogger("torch.__trace").propagate = True
# Tiny tensors: a second thread only waits.
torch.set_num_threads(int(os.environ.get("MOI_TEST_THREADS", "1")))
# In the environment, so that the workers of pytest-xdist draw the same as the process that starts them.
_SEED = int(os.environ.get("MOI_TEST_SEED") or secrets.randbelow(1 << 31))
os.environ["MOI_TEST_SEED"] = str(_SEED)

_SLOW_FOLDERS = "sglang", "vllm", "real", "fuzz"
_LONGEST = *_SLOW_FOLDERS, "test_gpu_plan", "test_kernels"  # in this order: at the end of a run one worker would wait

# temperature, top_p, top_k, min_p, policy and its parameters, tokens: ragged lengths of what feedback leaves decidable.
# Sampled rows of low beta show small mistakes, which greedy rows hide.
_ROWS: tuple[tuple[float, float, int, float, MoIConfig, int], ...] = (
    (0.0, 1.0, 0, 0.0, MoIConfig(beta=1.0), 64),
    (1.0, 1.0, 0, 0.0, MoIConfig(beta=0.25), 16),
    (0.7, 0.95, 0, 0.0, MoIConfig("direct"), 12),
    (1.3, 0.8, 40, 0.0, MoIConfig("token"), 64),
    (1.0, 1.0, 0, 0.05, MoIConfig(beta=0.0), 16),
    (1.5, 1.0, 100, 0.0, MoIConfig(beta=4.0), 64),
    (1.0, 0.9, 0, 0.0, MoIConfig(beta=0.25), 16),
    (0.8, 1.0, 0, 0.0, MoIConfig(beta=0.0), 12),
    (1.2, 0.7, 0, 0.0, MoIConfig("token"), 32),
    (0.6, 1.0, 0, 0.0, MoIConfig(beta=1.0), 64),
    (1.0, 1.0, 0, 0.0, MoIConfig("soft"), 12),
    (0.8, 1.0, 0, 0.0, MoIConfig("selar", strength=0.5), 12),
    (1.0, 0.9, 0, 0.0, MoIConfig("router", threshold=0.1), 12),
    (1.0, 1.0, 0, 0.0, MoIConfig("gumbel"), 16),
    (0.0, 1.0, 0, 0.0, MoIConfig("gumbel", tau=2), 12),
    (0.9, 1.0, 0, 0.0, MoIConfig("multiplex"), 16),
    (0.0, 1.0, 0, 0.0, MoIConfig("multiplex", draws=8), 12),
)


def pytest_report_header() -> str:
    return f"MOI_TEST_SEED={_SEED}"


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """-q hides the header."""
    if terminalreporter.stats.get("failed") or terminalreporter.stats.get("error"):
        terminalreporter.write_line(f"to draw the same models and prompts again: MOI_TEST_SEED={_SEED}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks whole folders as slow (elsewhere modules say so themselves) and puts those that take longest first."""
    for item in items:
        if item.path.parent.name in _SLOW_FOLDERS:
            item.add_marker(pytest.mark.slow)
    items.sort(key=_turn)


def _turn(item: pytest.Item) -> int:
    found = [_LONGEST.index(name) for name in (item.path.parent.name, item.path.stem) if name in _LONGEST]
    return found[0] if found else len(_LONGEST)


def pytest_collection_finish() -> None:
    """What was imported until now stays: the collector of cycles need not look at it again and again."""
    gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With several workers (`make test`) one gets a whole slow folder, else a module: its tests share servers and
    models."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFolder(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            path = Path(nodeid.split("::")[0])
            return path.parent.name if path.parent.name in _SLOW_FOLDERS else str(path)

    return ByFolder(config, log)


@pytest.fixture(scope="session")
def base_seed() -> int:
    return _SEED


@pytest.fixture(scope="session")
def make_cases(base_seed: int) -> Callable[..., Cases]:
    """make_cases(vocab, count=2, steps=None, prior="sampling", ...): random prompts and noise for `count` times all
    rows of the table, of at most `steps` tokens; further settings are fields of every MoIConfig. `continuous` leaves
    out policies with thresholds and draws, of whose mixtures the rounding of narrow types decides too many."""

    def cases(
        vocab: int = 258, count: int = 1, steps: int = 64, name: str = "", continuous: bool = False, **shared: Any
    ) -> Cases:
        rng = random.Random(f"{base_seed}/{name}")
        rows = [row for row in _ROWS if not continuous or row[4].policy in ("token", "moi", "direct")] * count
        prompts = [[rng.randrange(2, vocab) for _ in range(rng.choice([1, 3, 7, 20, 40]))] for _ in rows]
        sampling = [
            SamplingParams(t, top_p=p, top_k=k, min_p=m, max_new_tokens=min(n, steps), ignore_eos=True)
            for t, p, k, m, _, n in rows
        ]
        moi = [config.replace(shared) for *_, config, _ in rows]
        noise = [[rng.getrandbits(24) / (1 << 24) for _ in range(64)] for _ in rows]
        return Cases(prompts, sampling, moi, noise)

    return cases


@pytest.fixture(scope="session")
def random_model(tmp_path_factory: pytest.TempPathFactory, base_seed: int) -> Callable[..., Path]:
    """random_model("qwen3", 2, hidden_size=64) -> the folder of the third tiny model of that architecture and width,
    drawn for this run."""
    folders: dict[tuple[str, int, str], Path] = {}

    def folder(architecture: str, number: int = 0, **overrides: Any) -> Path:
        key = architecture, number, repr(sorted(overrides.items()))
        if key not in folders:
            path = tmp_path_factory.mktemp(f"{architecture}-drawn")
            folders[key] = save_tiny_model(path, architecture, seed=(base_seed + number) % (1 << 31), **overrides)
        return folders[key]

    return folder


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """tiny_model("qwen3") -> the folder of a random model of that architecture."""
    folders: dict[str, Path] = {}

    def folder(architecture: str) -> Path:
        if architecture not in folders:
            folders[architecture] = save_tiny_model(tmp_path_factory.mktemp(architecture), architecture)
        return folders[architecture]

    return folder


@pytest.fixture(scope="session")
def real_model() -> Callable[[str], Path]:
    """real_model("gemma3-270m") -> its folder, where `make models` puts it; skips where there is none."""

    def folder(name: str) -> Path:
        found = Path(os.environ.get("MOI_REAL_MODELS") or cache_folder() / "models", name)
        if not found.is_dir():
            pytest.skip(f"{name} is not on this machine: make models")
        return found

    return folder


# What another package brings: one module, and the line that names it.
_OUTSIDE = """
from moi import Parameter, Policy


def weights(tail, prior, rank, before, best, share, entropy):
    strength = share * (1 - best) * (entropy > 0)
    shape = (1 - tail) * prior + tail * prior * (2 * before + prior)  # either sums to 1
    return 1 - strength, strength * shape * (rank < 64)


SHARE = Parameter("share", 0.5, low=0, high=1, help="of the input that is not the token, where nothing is certain")
TAIL = Parameter("tail", 0.25, low=0, high=1, help="towards the less likely candidates")
POLICY = Policy("outside", weights, (SHARE, TAIL))
"""


@pytest.fixture(scope="session")
def outside_package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for PYTHONPATH, with an installed package that brings the policy "outside" of two parameters."""
    return install_package(tmp_path_factory.mktemp("outside"), "outside", "outside_policy:POLICY", _OUTSIDE)
