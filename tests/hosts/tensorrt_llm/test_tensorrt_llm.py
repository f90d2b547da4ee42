"""The TensorRT-LLM integration without TensorRT-LLM: the mixing, with real tensors, and the registration.

What runs here is our code over recorded declarations and a small stand-in model. That TensorRT-LLM itself calls it
as declared is for `moi selftest --backend tensorrt_llm` on a machine that has it.
"""

from __future__ import annotations

import inspect
import os
import pickle
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import tensorrt_llm_recorded

pytest.importorskip("moi_tensorrt_llm")
from moi import MoIConfig, embed, mix, uniforms
from moi_serving.pending import PendingMixtures
from moi_tensorrt_llm import MoILogitsProcessor, custom_module_dir, model
from moi_tensorrt_llm.processor import PENDING

V, D = 50, 8


# --- mixing ---------------------------------------------------------------------------------------------------


class Host(nn.Module):
    """A stand-in for a TensorRT-LLM model: one embedding and a head, and a record of what it was fed."""

    def __init__(self, model_config: Any) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.model = nn.Module()
            self.model.embed_tokens = nn.Embedding(V, D)
            self.head = nn.Linear(D, V)
        self.fed: list[tuple[Tensor | None, Tensor | None]] = []

    def forward(
        self, attn_metadata, input_ids=None, position_ids=None, inputs_embeds=None, return_context_logits=False, **kw
    ):
        self.fed.append((input_ids, inputs_embeds))
        x = self.model.embed_tokens(input_ids) if inputs_embeds is None else inputs_embeds
        ends = [*torch.tensor(attn_metadata.context_lens).cumsum(0).tolist()]
        rows = [end - 1 for end in ends] + list(range(attn_metadata.num_ctx_tokens, len(x)))
        return self.head(x[torch.tensor(rows)])


MODEL_CONFIG = SimpleNamespace(spec_config=None, mapping=SimpleNamespace(pp_size=1, enable_attention_dp=False))


def _step(ids: list[int], contexts: list[int] = [], **extra: Any) -> SimpleNamespace:  # noqa: B006
    manager = SimpleNamespace(enable_block_reuse=False)
    base = {"request_ids": ids, "num_contexts": len(contexts), "context_lens": contexts, "is_cuda_graph": False}
    return SimpleNamespace(**{**base, "num_ctx_tokens": sum(contexts), "kv_cache_manager": manager, **extra})


def _build(default: MoIConfig | None = None) -> tuple[Any, PendingMixtures]:
    pending = PendingMixtures()
    return model.mixed(Host, default, pending)(MODEL_CONFIG), pending


@torch.inference_mode()
def test_generation_rows_with_a_mixture_take_it_and_others_do_not() -> None:
    lm, pending = _build()
    logits = torch.randn(2, V)
    configs = [MoIConfig(top_k=4), MoIConfig(top_k=7, beta=0.25)]
    for request, row, config in zip((11, 13), logits, configs, strict=True):
        pending.compute([request], row[None], config)
    ids = torch.tensor([1, 2, 3, 20, 21, 22])
    lm(_step([5, 11, 12, 13], [3]), input_ids=ids, position_ids=None)
    fed_ids, x = lm.fed[0]
    assert fed_ids is None
    table = lm.model.embed_tokens.weight
    assert torch.equal(x[[0, 1, 2, 4]], table[[1, 2, 3, 21]])
    for row, token, logit, config in ((3, 20, logits[0], configs[0]), (5, 22, logits[1], configs[1])):
        expected = embed(mix(logit[None], torch.tensor([token]), config), table)
        torch.testing.assert_close(x[row], expected[0], atol=1e-6, rtol=0)
        assert not torch.allclose(x[row], table[token], atol=1e-3)
    assert len(pending) == 0


@torch.inference_mode()
def test_without_mixtures_the_host_gets_exactly_its_own_arguments() -> None:
    lm, _ = _build()
    ids = torch.tensor([4, 5])
    lm(_step([1, 2]), input_ids=ids)
    assert lm.fed[0][0] is ids
    assert lm.fed[0][1] is None


@torch.inference_mode()
def test_a_policy_that_draws_takes_the_seed_and_the_place_of_the_token() -> None:
    config, logits, tokens = MoIConfig("gumbel", top_k=5, tau=2), torch.randn(1, V), [7, 8, 3]
    for seed, token in ((5, int(logits.argmax())), (2**62, int(logits.argmin()))):
        pickle.loads(pickle.dumps(MoILogitsProcessor(config, seed=seed)))(
            9, logits.view(1, 1, -1), [tokens], None, None
        )
        ((_, found),) = PENDING.complete([9], torch.tensor([token]))
        drawn = uniforms(torch.tensor([seed]), torch.tensor([len(tokens)]), 5)
        expected = mix(logits, torch.tensor([token]), config, uniforms=drawn)
        assert torch.equal(found.ids, expected.ids)
        torch.testing.assert_close(found.weights, expected.weights)
    with pytest.raises(ValueError, match=r"seed=-1 is not allowed; seed must be an integer in \[0, 2\^63\)"):
        MoILogitsProcessor(config, seed=-1)


@torch.inference_mode()
def test_a_whole_decode_equals_the_loop_written_out() -> None:
    """Processor, model and state together, as TensorRT-LLM calls them: forward, processors, sampling."""
    PENDING.forget([3])
    lm = model.mixed(Host)(MODEL_CONFIG)
    config = MoIConfig(top_k=5)
    processor = pickle.loads(pickle.dumps(MoILogitsProcessor(config)))
    reference = Host(MODEL_CONFIG)
    logits, theirs, ours = lm(_step([3], [2]), input_ids=torch.tensor([7, 8])), [], []
    x = reference.model.embed_tokens(torch.tensor([8]))
    for _ in range(12):
        processor(3, logits.view(1, 1, -1), [[7, 8]], None, None)
        ours.append(int(logits.argmax()))
        logits = lm(_step([3]), input_ids=logits.argmax(-1))
        plain = reference.head(x)
        theirs.append(int(plain.argmax()))
        x = embed(mix(plain, plain.argmax(-1), config), reference.model.embed_tokens.weight)
    assert ours == theirs
    assert len(set(ours)) > 1


@torch.inference_mode()
def test_a_default_mixes_every_request_and_a_processor_overrides_it() -> None:
    lm, pending = _build(MoIConfig(top_k=3))
    logits = lm(_step([1, 2], [1, 1]), input_ids=torch.tensor([3, 4]))
    assert 1 in pending
    pending.compute([2], logits[1:], MoIConfig(policy="token"))
    lm(_step([1, 2]), input_ids=logits.argmax(-1))
    table, x = lm.model.embed_tokens.weight, lm.fed[1][1]
    assert torch.equal(x[1], table[logits[1].argmax()])
    assert not torch.equal(x[0], table[logits[0].argmax()])


def test_a_preempted_request_starts_over_and_old_ones_are_dropped() -> None:
    lm, pending = _build()
    pending.compute([1, 2], torch.randn(2, V), MoIConfig(top_k=2))
    lm(_step([1], [4]), input_ids=torch.tensor([1, 2, 3, 4]))
    assert 1 not in pending
    assert 2 in pending
    small = PendingMixtures(capacity=2)
    small.compute([1, 2, 3], torch.randn(3, V), MoIConfig(top_k=2))
    assert len(small) == 2
    assert 1 not in small


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({"is_cuda_graph": True}, "cuda_graph_config=None"),
        ({"kv_cache_manager": SimpleNamespace(enable_block_reuse=True)}, "enable_block_reuse=False"),
    ],
)
def test_a_step_that_would_lose_mixtures_is_refused(extra: dict[str, Any], message: str) -> None:
    lm, pending = _build()
    pending.compute([1], torch.randn(1, V), MoIConfig(top_k=2))
    with pytest.raises(ValueError, match=message):
        lm(_step([1], **extra), input_ids=torch.tensor([1]))


def test_more_tokens_than_rows_means_drafts_and_is_refused() -> None:
    lm, pending = _build()
    pending.compute([1], torch.randn(1, V), MoIConfig(top_k=2))
    with pytest.raises(ValueError, match="2 tokens for 1 generation rows"):
        lm(_step([1]), input_ids=torch.tensor([1, 2]))


def test_models_with_pipeline_parallelism_or_drafts_are_refused() -> None:
    for change in ({"spec_config": object()}, {"mapping": SimpleNamespace(pp_size=2, enable_attention_dp=False)}):
        with pytest.raises(ValueError, match=r"speculative_config=None|pipeline_parallel_size=1"):
            model.mixed(Host)(SimpleNamespace(**{**vars(MODEL_CONFIG), **change}))


def test_registration_keeps_names_and_architectures(host: dict[str, ModuleType]) -> None:
    names = model.register_models()
    assert names == sorted(model.ARCHITECTURES)
    for name in names:
        registered = tensorrt_llm_recorded.REGISTERED[name]
        assert registered.__name__ == name
        assert issubclass(registered, getattr(tensorrt_llm_recorded, name))


# A process that finds the recorded TensorRT-LLM, as a launching process and its workers do.
_PROCESS = """
import importlib, pickle, sys
import tensorrt_llm_recorded
from moi_tensorrt_llm import contract

class Patch:
    setitem = staticmethod(dict.__setitem__)

tensorrt_llm_recorded.install(Patch)
contract.version = lambda name: "1.2.1"
"""
_LAUNCH = "import {register}; sys.stdout.buffer.write(pickle.dumps(tensorrt_llm_recorded.REGISTERED))"
_WORKERS = {
    "by pickle": "found = pickle.load(sys.stdin.buffer)",
    "by the name of the module": "importlib.import_module({module!r}); found = tensorrt_llm_recorded.REGISTERED",
}


def process(code: str, given: bytes = b"") -> bytes:
    """What a spawned process writes."""
    helpers = Path(tensorrt_llm_recorded.__file__).parent
    paths = [str(helpers), str(custom_module_dir().parent), os.environ.get("PYTHONPATH", "")]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    done = subprocess.run([sys.executable, "-c", _PROCESS + code], env=environ, input=given, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


@pytest.mark.parametrize("way", _WORKERS)
def test_the_registration_reaches_a_worker(way: str) -> None:
    """In both of the host's ways: it pickles its mapping, or names the module of each class."""
    sent = process(_LAUNCH.format(register=custom_module_dir().name))
    receive = _WORKERS[way].format(module="moi_tensorrt_llm.registered_models")
    told = process(f"{receive}; print(*(c.__module__ + ':' + c.__qualname__ for c in found.values()))", sent)
    assert told.decode().split() == [f"moi_tensorrt_llm.registered_models:{name}" for name in model.ARCHITECTURES]
    registered = process(f"{receive}; print(*tensorrt_llm_recorded.REGISTERED)", sent)
    assert registered.decode().split() == list(model.ARCHITECTURES), "and the worker's own registry has them"


@pytest.mark.parametrize("text", ["{", "[1]", '{"nope": 1}', '{"prior": "sampling"}'])
def test_a_bad_default_is_refused(text: str) -> None:
    for name in model.DEFAULT_VARIABLES:
        with pytest.raises(ValueError, match=name):
            model.default_config({name: text})


def test_a_good_default_is_read() -> None:
    first, second = model.DEFAULT_VARIABLES
    assert model.default_config({first: '{"beta": 2}'}) == MoIConfig(beta=2)
    assert model.default_config({second: '{"beta": 2}', first: ""}) == MoIConfig(beta=2)
    assert model.default_config({}) is None
    with pytest.raises(ValueError, match=f"{first} and {second} differ; set one of them"):
        model.default_config({first: '{"beta": 2}', second: '{"beta": 3}'})
    with pytest.raises(ValueError, match="policy 'gumbel' needs each request's seed"):
        model.default_config({first: '{"policy": "gumbel"}'})


def test_the_processor_has_the_five_parameters_that_are_counted() -> None:
    names = list(inspect.signature(MoILogitsProcessor()).parameters)
    assert names == ["req_id", "logits", "token_ids", "stream_ptr", "client_id"]
    with pytest.raises(ValueError, match="3 beams"):
        MoILogitsProcessor()(1, torch.zeros(3, 1, V), [[]], None, None)
    with pytest.raises(ValueError, match="temperature=-1"):
        MoILogitsProcessor(temperature=-1)


def test_the_custom_module_folder_is_printed_and_only_it_registers() -> None:
    result = subprocess.run([sys.executable, "-m", "moi_tensorrt_llm"], capture_output=True, text=True, check=True)
    folder = Path(result.stdout.strip())
    assert folder == custom_module_dir()
    assert [path.name for path in folder.parent.iterdir() if path.name != "__pycache__"] == [folder.name]
    code = f"import sys; sys.path.insert(0, {str(folder.parent)!r}); import {folder.name}"
    failed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert failed.returncode != 0
    assert "tensorrt_llm is not installed" in failed.stderr
