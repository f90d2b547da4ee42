"""The TensorRT-LLM integration without TensorRT-LLM: its pieces, with real tensors, and the registration.

What runs here is our code over recorded declarations and a small stand-in model. That TensorRT-LLM itself calls it
as declared is for `moi selftest --backend tensorrt_llm` on a machine that has it.
"""

from __future__ import annotations

import copy
import inspect
import pickle
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
import torch
from torch import Tensor, nn

pytest.importorskip("moi_tensorrt_llm")
from moi import MoIConfig, embed, mix, uniforms
from moi_tensorrt_llm import MoILogitsProcessor, logits_processors
from moi_tensorrt_llm.metadata import track, tracked
from moi_tensorrt_llm.model import mixed
from moi_tensorrt_llm.requests import PLAIN, Requests
from moi_tensorrt_llm.server_settings import ServerSettings
from moi_tensorrt_llm.state import NEVER, State

V, D, ROWS = 50, 8, 4
OWN = MoIConfig("token", top_k=5)  # what servers here have


class Metadata:
    """Of a step: contexts of these lengths, then one token of each other request."""

    def __init__(self) -> None:
        self.__post_init__()

    def __post_init__(self) -> None:
        self.max_num_requests, self.is_cuda_graph = ROWS, False
        self.kv_cache_manager = SimpleNamespace(enable_block_reuse=False)

    def prepare(self) -> None:
        self.prepared = True

    def step(self, ids: list[int], contexts: tuple[int, ...] = (), cached: int = 0) -> Any:
        self.request_ids, self.num_contexts, self.num_seqs = ids, len(contexts), len(ids)
        self.num_ctx_tokens, self.prompt_lens = sum(contexts), [*contexts, *[1] * (len(ids) - len(contexts))]
        self.seq_lens = torch.tensor([*contexts, *[1] * (len(ids) - len(contexts))])
        self.seq_lens_cuda = self.seq_lens
        self.kv_cache_params = SimpleNamespace(num_cached_tokens_per_seq=[cached] * len(ids))
        self.prepare()
        return self


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
        last = attn_metadata.seq_lens.cumsum(0) - 1
        return self.head(x if return_context_logits else x[last])


MODEL_CONFIG = SimpleNamespace(spec_config=None, mapping=SimpleNamespace(pp_size=1, enable_attention_dp=False))


class Worker:
    """A process with a model: its state, its metadata and the model."""

    def __init__(self, settings: ServerSettings = ServerSettings(OWN)) -> None:  # noqa: B008
        self.state = State(settings)
        self.metadata = tracked(Metadata, self.state)()
        self.lm = mixed(Host, self.state)(MODEL_CONFIG)
        self.table = self.lm.model.embed_tokens.weight

    def run(self, ids: list[int], tokens: list[int], positions: list[int], *contexts: int, **more: Any) -> Any:
        step = self.metadata.step(ids, contexts)
        return self.lm(step, torch.tensor(tokens), torch.tensor([positions]), **more)

    @property
    def fed(self) -> Any:
        return self.lm.fed[-1][1]


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Worker:
    made = Worker()
    monkeypatch.setattr("moi_tensorrt_llm.processor.worker_state", lambda: made.state)
    return made


# --- mixing ---------------------------------------------------------------------------------------------------


@torch.inference_mode()
def test_generation_rows_with_a_mixture_take_it_and_others_do_not(worker: Worker) -> None:
    configs = {11: MoIConfig(top_k=5), 13: MoIConfig("gumbel", top_k=5, tau=2)}
    logits = worker.run([11, 12, 13], [1, 2, 3], [0, 0, 0], 1, 1, 1)
    assert worker.fed is None, "nothing mixes yet"
    for row, (request, config) in enumerate(configs.items()):
        processor = pickle.loads(pickle.dumps(MoILogitsProcessor(config, seed=7)))
        processor(request, logits[2 * row].view(1, 1, -1), [[1]], None, None)
    worker.run([5, 11, 12, 13], [1, 2, 3, 20, 21, 22], [0, 1, 2, 1, 1, 1], 3)
    assert torch.equal(worker.fed[[0, 1, 2, 4]], worker.table[[1, 2, 3, 21]])
    drawn = uniforms(torch.tensor([7]), torch.tensor([1]), 5)
    for row, token, of in ((3, 20, 0), (5, 22, 2)):
        config = list(configs.values())[of // 2]
        given = None if config.policy == "moi" else drawn
        expected = embed(mix(logits[of][None], torch.tensor([token]), config, uniforms=given), worker.table)
        torch.testing.assert_close(worker.fed[row], expected[0], atol=1e-6, rtol=0)
        assert not torch.allclose(worker.fed[row], worker.table[token], atol=1e-3)


@torch.inference_mode()
def test_without_mixtures_the_host_gets_exactly_its_own_arguments(worker: Worker) -> None:
    ids, step = torch.tensor([4, 5]), worker.metadata.step([11, 12])
    worker.lm(step, input_ids=ids)
    assert worker.lm.fed[0][0] is ids
    assert worker.fed is None
    step.is_cuda_graph = True
    worker.lm(step, ids, torch.tensor([[3, 3]]))
    assert torch.equal(worker.fed, worker.table[ids]), "a graph serves other requests later"


@torch.inference_mode()
def test_logits_of_all_tokens_and_padded_inputs_are_read_by_rows() -> None:
    told = []
    for more in ({}, {"return_context_logits": True}):
        worker = Worker(ServerSettings(MoIConfig(top_k=5)))
        worker.run([11, 12], [1, 2, 3, 4, 0, 0], [0, 1, 0, 1, 0, 0], 2, 2, **more)
        worker.run([11, 12], [7, 8, 0], [2, 2, 0])
        told.append(worker.fed)
    assert len(told[0]) == 3
    torch.testing.assert_close(*told, atol=1e-6, rtol=0)  # products of matrices of other heights round otherwise
    assert torch.equal(told[0][2], told[1][2]), "padding"
    assert not torch.equal(told[0][:2], worker.table[[7, 8]])


@torch.inference_mode()
def test_a_default_mixes_every_request_and_a_processor_overrides_it(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = Worker(ServerSettings(MoIConfig(top_k=5)))
    monkeypatch.setattr("moi_tensorrt_llm.processor.worker_state", lambda: worker.state)
    logits = worker.run([11, 12], [3, 4], [0, 0], 1, 1)
    MoILogitsProcessor(OWN)(12, logits[1].view(1, 1, -1), [[4]], None, None)
    worker.run([11, 12], [20, 21], [1, 1])
    assert torch.equal(worker.fed[1], worker.table[21])
    assert not torch.equal(worker.fed[0], worker.table[20])


# --- what cannot be served ------------------------------------------------------------------------------------


def test_a_step_that_would_lose_mixtures_is_refused(worker: Worker) -> None:
    reuse = SimpleNamespace(enable_block_reuse=True)
    worker.metadata.kv_cache_manager = reuse
    worker.metadata.step([11, 12])
    worker.state.register(11, MoIConfig(top_k=5), 1.0, 0, torch.randn(1, V), 1)
    with pytest.raises(ValueError, match="enable_block_reuse=False"):
        worker.metadata.step([11, 12])


@torch.inference_mode()
def test_what_the_model_cannot_see_to_is_refused(worker: Worker) -> None:
    with pytest.raises(ValueError, match="Metadata is of an attention backend that MoI does not know"):
        worker.lm(Metadata().step([11]), torch.tensor([1]), torch.tensor([[1]]))
    worker.state.register(11, MoIConfig(top_k=5), 1.0, 0, torch.randn(1, V), 1)
    with pytest.raises(ValueError, match="1 tokens for 2 generations"):
        worker.run([11, 12], [1], [1])
    with pytest.raises(ValueError, match="without input_ids or position_ids"):
        worker.lm(worker.metadata.step([11]), torch.tensor([1]))

    class Sharded(Host):
        def forward(self, *args: Any, **kwargs: Any) -> Any:
            return {"logits": super().forward(*args, **kwargs), "logits_vocab_shard": True}

    sharded = mixed(Sharded, worker.state)(MODEL_CONFIG)
    with pytest.raises(ValueError, match="the model returns dict for its logits"):
        sharded(worker.metadata.step([11]), torch.tensor([1]), torch.tensor([[1]]))


def test_models_with_pipeline_parallelism_or_drafts_are_refused() -> None:
    for change in ({"spec_config": object()}, {"mapping": SimpleNamespace(pp_size=2, enable_attention_dp=False)}):
        with pytest.raises(ValueError, match=r"speculative_config=None|pipeline_parallel_size=1"):
            mixed(Host, State(ServerSettings()))(SimpleNamespace(**{**vars(MODEL_CONFIG), **change}))


def test_settings_of_the_server_are_not_a_requests() -> None:
    for config, message in (
        (MoIConfig(top_k=7), "top_k=7 is not allowed; this server has top_k=5, from MOI_TENSORRT_LLM_DEFAULT"),
        (MoIConfig(top_k=5, entropy="vocab"), "entropy='vocab' is not allowed"),
        (MoIConfig(top_k=5, prior="sampling"), "prior='sampling' is not allowed"),
    ):
        with pytest.raises(ValueError, match=message):
            Worker().state.register(11, config, 1.0, 0, torch.zeros(1, V), 1)


# --- slots ----------------------------------------------------------------------------------------------------


def test_slots_go_to_whoever_was_not_seen_for_longest() -> None:
    requests = Requests(2)
    first, second = requests.add(1, []), requests.add(2, [])
    assert {first.slot, second.slot, PLAIN} == {0, 1, 2}
    assert requests.get(1) is first
    assert requests.get(3) is None
    assert requests.add(3, [1]).slot == second.slot
    with pytest.raises(RuntimeError, match="request 2 came back after others took its slot"):
        requests.get(2)
    with pytest.raises(RuntimeError, match="2 requests in a batch, each with a slot, and one more to come"):
        requests.add(4, [1, 3])


def test_the_hosts_own_requests_are_plain() -> None:
    worker = Worker(ServerSettings(MoIConfig(top_k=5)))
    worker.metadata.step([0, ROWS - 1, 2**64 - 1, ROWS], (1, 1, 1, 1))
    assert worker.state.device.rows[:, :4].tolist() == [[0, 0, 0, 1], [NEVER] * 4]
    worker.metadata.step([0, ROWS - 1, 2**64 - 1], (1, 1, 1))  # as a host does that warms up twice
    worker.metadata.request_ids = None  # as where there is no KV cache
    worker.metadata.prepare()
    assert not worker.state.mixing
    with pytest.raises(RuntimeError, match="request 3 has the id of one of TensorRT-LLM's own"):
        worker.state.register(3, MoIConfig(top_k=5), 1.0, 0, torch.zeros(1, V), 1)


def test_copies_of_metadata_are_tracked_and_backends_once() -> None:
    state = State(ServerSettings())
    backend = type("Backend", (), {"Metadata": Metadata})
    track(backend, state)
    found = backend.Metadata
    track(backend, State(ServerSettings()))
    assert backend.Metadata is found
    assert (found.__name__, found.__qualname__, found.__module__) == ("Metadata", "Metadata", Metadata.__module__)
    step = copy.copy(found())
    step.step([11])
    assert step.prepared
    assert state.copies == 1
    with pytest.raises(ValueError, match="max_num_requests=5 after 4"):
        state.allocate(ROWS + 1, torch.device("cpu"))


# --- the processor --------------------------------------------------------------------------------------------


def test_a_processor_leaves_its_list_unless_it_would_make_the_host_pass_over_another(worker: Worker) -> None:
    logits, other, last, moi = torch.zeros(1, 1, V), Mock(), 2**63 - 1, MoIConfig("gumbel", top_k=5)
    shared = [logits_processors(moi, seed=last, others=each, n=2) for each in ([], [other])]
    for first, processors in zip((11, 21), shared, strict=True):
        for request in (first, first, first + 1, first + 1):
            for processor in processors:
                processor(request, logits, [[1, 2]], None, None)
    assert shared[0] == []
    assert shared[1][1:] == [other]
    assert [call.args[0] for call in other.call_args_list] == [21, 21, 22, 22], "the others miss no call"
    assert worker.state.device.slots.tables.seed[:5].tolist() == [0, last, 0, last, 0], "children draw their own"
    alone = MoILogitsProcessor(MoIConfig(top_k=5))
    alone(31, logits, [[1, 2]], None, None)
    alone(31, torch.full_like(logits, torch.nan), [[1, 2, 3]], None, None)  # not looked at


@torch.inference_mode()
def test_the_first_mixture_is_of_the_models_own_logits_whatever_others_do_to_them(worker: Worker) -> None:
    def bias(request: int, logits: Tensor, *call: Any) -> None:
        logits[..., 9] += 100

    own = (logits := worker.run([11], [1], [0], 1)).clone()
    for processor in logits_processors(config := MoIConfig(top_k=5), others=[bias]):
        processor(11, logits.view(1, 1, -1), [[1]], None, None)
    worker.run([11], [20], [1])
    expected = embed(mix(own, torch.tensor([20]), config), worker.table)
    torch.testing.assert_close(worker.fed, expected, atol=1e-6, rtol=0)


def test_the_processor_has_the_five_parameters_that_are_counted(worker: Worker) -> None:
    names = list(inspect.signature(MoILogitsProcessor()).parameters)
    assert names == ["req_id", "logits", "token_ids", "stream_ptr", "client_id"]
    with pytest.raises(ValueError, match="3 beams"):
        MoILogitsProcessor()(11, torch.zeros(3, 1, V), [[]], None, None)
    with pytest.raises(ValueError, match="temperature=-1"):
        MoILogitsProcessor(temperature=-1)
    with pytest.raises(ValueError, match=r"seed=-1 is not allowed; seed must be an integer in \[0, 2\^63\)"):
        MoILogitsProcessor(seed=-1)


def test_a_request_of_a_process_without_mixed_models_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moi_tensorrt_llm.processor.worker_state", lambda: State(ServerSettings()))
    with pytest.raises(RuntimeError, match="start with --custom_module_dirs"):
        MoILogitsProcessor()(11, torch.zeros(1, 1, V), [[1]], None, None)
