"""A stand-in for TensorRT-LLM around real transformers models: its order of calls, and none of its code.

What it does as TensorRT-LLM does: one metadata object for eager steps and one copied for each captured batch size,
whose `prepare` comes before each step; generation steps replayed from static buffers and padded with dummies; contexts,
in chunks, that run eagerly beside generations; a last chunk of one token that runs as a generation; logits processors
after the forward, at every chunk of a prompt but not when it is prefilled again; requests that are preempted.
"""

from __future__ import annotations

import copy
import pickle
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM

from kv_rows import DUMMY, LENGTH, KVCache, Layers
from moi import MoIConfig
from moi_engines import SamplingParams
from moi_engines.parity import Cases
from moi_engines.sampler import SamplingTensors, sample
from moi_tensorrt_llm import logits_processors
from moi_tensorrt_llm.metadata import tracked
from moi_tensorrt_llm.model import mixed
from moi_tensorrt_llm.server_settings import ServerSettings
from moi_tensorrt_llm.state import State


@dataclass
class Metadata:
    """As TensorRT-LLM's AttentionMetadata, of the fields that matter here."""

    max_num_requests: int
    kv_cache_manager: KVCache
    is_cuda_graph: bool = False
    request_ids: list[int] = field(default_factory=list)
    prompt_lens: list[int] = field(default_factory=list)
    seq_lens: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.int32))
    kv_cache_params: Any = None
    num_contexts: int = 0
    num_ctx_tokens: int = 0

    def __post_init__(self) -> None:
        device = self.kv_cache_manager.layers[0][0].device
        self.seq_lens_cuda = torch.zeros(self.max_num_requests, dtype=torch.int32, device=device)
        self.kv_rows = torch.zeros(self.max_num_requests, dtype=torch.int64, device=device)

    @property
    def num_seqs(self) -> int:
        return len(self.seq_lens)

    def prepare(self) -> None:
        self.num_ctx_tokens = int(self.seq_lens[: self.num_contexts].sum())
        self.seq_lens_cuda[: self.num_seqs].copy_(self.seq_lens)
        self.kv_rows[: self.num_seqs].copy_(torch.tensor(self.kv_cache_manager.rows(self.request_ids)))

    def create_cuda_graph_metadata(self, max_batch_size: int) -> Metadata:
        made = copy.copy(self)
        made.is_cuda_graph, made.max_num_requests, made.num_contexts = True, max_batch_size, 0
        made.__post_init__()
        return made


class Attention:
    """As an attention backend, of which only the metadata matters here."""

    Metadata = Metadata


class CausalLM(nn.Module):
    """As one of TensorRT-LLM's models: logits [R,V] of the last token of each row."""

    def __init__(self, model_config: Any) -> None:
        super().__init__()
        decoder = AutoModelForCausalLM.from_pretrained(model_config.folder, dtype=torch.float32)
        self.decoder = decoder.to(model_config.device).eval()
        self.model = decoder.model

    def forward(
        self, attn_metadata, input_ids=None, position_ids=None, inputs_embeds=None, return_context_logits=False, **kw
    ):
        x = self.model.embed_tokens(input_ids) if inputs_embeds is None else inputs_embeds
        contexts, start, logits = attn_metadata.num_contexts, 0, []
        rows, position = attn_metadata.kv_rows[: attn_metadata.num_seqs], position_ids.view(-1)
        for i in range(contexts):
            length = int(attn_metadata.seq_lens[i])
            at = slice(start, start + length)
            logits.append(self._run(attn_metadata, x[None, at], position[None, at], rows[i : i + 1])[:, -1])
            start += length
        if contexts < len(rows):
            at = slice(start, start + len(rows) - contexts)
            logits.append(self._run(attn_metadata, x[at][:, None], position[at][:, None], rows[contexts:])[:, -1])
        return torch.cat(logits)

    def _run(self, metadata: Metadata, x: Tensor, position: Tensor, rows: Tensor) -> Tensor:
        """Logits [b,t,V] of inputs [b,t,D] of these KV rows."""
        mask = torch.arange(LENGTH, device=x.device) <= position[:, None, :, None]
        cache = Layers(metadata.kv_cache_manager, rows, position.long())
        out = self.decoder(inputs_embeds=x, position_ids=position.long(), attention_mask=mask, past_key_values=cache)
        return out.logits.float()


@dataclass
class Request:
    """One that is served: `processors` is its list, as it came with the sampling parameters."""

    id: int
    prompt: list[int]
    sampling: SamplingParams
    processors: list[Any]
    noise: Sequence[float]
    generated: list[int] = field(default_factory=list)
    cached: int = 0
    processor_calls: int = 0

    @property
    def tokens(self) -> list[int]:
        return [*self.prompt, *self.generated]

    @property
    def left(self) -> int:
        return len(self.tokens) - self.cached


# (function of two tensors, example tensors) -> the same, replayed on the tensors that it was captured with
Capture = Callable[[Callable[[Tensor, Tensor], Tensor], Tensor, Tensor], Callable[[], Tensor]]


class Executor:
    """Serves requests in an order that `rng` draws: joins, finishes, re-orders, chunks, preemptions."""

    def __init__(
        self, model: Any, attention: Any, cache: KVCache, capture: Capture, sizes: Sequence[int], rng: random.Random
    ) -> None:
        self.model, self.rng, self.cache, self.sizes = model, rng, cache, sizes
        self.eager = attention.Metadata(max_num_requests=max(sizes), kv_cache_manager=cache)
        device = cache.layers[0][0].device
        self.ids = torch.zeros(max(sizes), dtype=torch.int32, device=device)
        self.positions = torch.zeros(1, max(sizes), dtype=torch.int32, device=device)
        self.graphs = {size: self._captured(capture, size) for size in sizes}
        self.graph_steps = self.eager_steps = 0

    def _captured(self, capture: Capture, size: int) -> tuple[Any, Callable[[], Tensor]]:
        metadata = self.eager.create_cuda_graph_metadata(size)
        self._describe(metadata, [DUMMY] * size, [1] * size, [0] * size, [1] * size, 0)

        def forward(ids: Tensor, positions: Tensor) -> Tensor:
            return self.model(metadata, ids, positions)

        return metadata, capture(forward, self.ids[:size], self.positions[:, :size])

    @staticmethod
    def _describe(
        metadata: Any, ids: list[int], prompts: list[int], cached: list[int], lengths: list[int], contexts: int
    ) -> None:
        metadata.request_ids, metadata.prompt_lens, metadata.num_contexts = ids, prompts, contexts
        metadata.seq_lens = torch.tensor(lengths, dtype=torch.int32)
        metadata.kv_cache_params = SimpleNamespace(num_cached_tokens_per_seq=cached)
        metadata.prepare()

    def serve(self, requests: Sequence[Request], chunk: int = 8, preempt: float = 0.0, join: float = 0.5) -> None:
        """Until all have their tokens."""
        waiting, running = list(requests), list[Request]()
        while waiting or running:
            while waiting and len(running) < max(self.sizes) and (not running or self.rng.random() < join):
                running.append(waiting.pop(0))
            if self.rng.random() < preempt and (started := [r for r in running if r.generated and r.left == 1]):
                self._preempt(victim := self.rng.choice(started))
                running.remove(victim)
                waiting.insert(0, victim)
                continue
            if self.rng.random() < 0.3:
                self.rng.shuffle(running)
            self._step(running, chunk)
            for request in [r for r in running if len(r.generated) == r.sampling.max_new_tokens]:
                self.cache.release(request.id)
                running.remove(request)

    def _preempt(self, request: Request) -> None:
        self.cache.release(request.id)
        request.cached = 0

    def _step(self, running: list[Request], chunk: int) -> None:
        contexts = [r for r in running if not self._generates(r)]
        generations = [r for r in running if self._generates(r)]
        logits = self._eager(contexts, generations, chunk) if contexts else self._replayed(generations)
        for row, request in enumerate((*contexts, *generations)):
            if row >= len(contexts) or not request.generated:  # not where it is prefilled again
                self._process(request, logits[row : row + 1])
            if not request.left:  # else a chunk, whose token nobody takes
                self._sample(request, logits[row : row + 1])

    @staticmethod
    def _generates(request: Request) -> bool:
        """Also with a last chunk of one token."""
        return request.left == 1 and request.cached > 0

    def _eager(self, contexts: list[Request], generations: list[Request], chunk: int) -> Tensor:
        self.eager_steps += 1
        rows = [*contexts, *generations]
        lengths = [min(chunk, r.left) for r in rows]
        prompts = [*lengths[: len(contexts)], *(len(r.prompt) for r in generations)]
        ids = [t for r, n in zip(rows, lengths, strict=True) for t in r.tokens[r.cached : r.cached + n]]
        at = [p for r, n in zip(rows, lengths, strict=True) for p in range(r.cached, r.cached + n)]
        self._describe(self.eager, [r.id for r in rows], prompts, [r.cached for r in rows], lengths, len(contexts))
        device = self.ids.device
        tensors = (torch.tensor(each, dtype=torch.int32, device=device) for each in (ids, [at]))
        logits = self.model(self.eager, *tensors)
        for request, length in zip(rows, lengths, strict=True):
            request.cached += length
        return logits

    def _replayed(self, generations: list[Request]) -> Tensor:
        self.graph_steps += 1
        count, size = len(generations), next(size for size in self.sizes if size >= len(generations))
        metadata, replay = self.graphs[size]
        padding = size - count
        prompts, cached = [len(r.prompt) for r in generations], [r.cached for r in generations]
        ids = [*(r.id for r in generations), *[DUMMY] * padding]
        self._describe(metadata, ids, [*prompts, *[1] * padding], [*cached, *[0] * padding], [1] * size, 0)
        self.ids[:count].copy_(torch.tensor([r.tokens[r.cached] for r in generations], dtype=torch.int32))
        self.positions[0, :count].copy_(torch.tensor(cached, dtype=torch.int32))
        for request in generations:
            request.cached += 1
        return replay()[:count]

    @staticmethod
    def _process(request: Request, logits: Tensor) -> None:
        for processor in request.processors:
            request.processor_calls += 1
            processor(request.id, logits.view(1, 1, -1), [request.tokens], None, None)

    @staticmethod
    def _sample(request: Request, logits: Tensor) -> None:
        params = SamplingTensors.of([request.sampling], logits.shape[1], logits.device)
        noise = torch.tensor([request.noise[len(request.generated)]], device=logits.device)
        request.generated.append(int(sample(logits, params, noise)))


def start_executor(
    folder: Path,
    settings: ServerSettings,
    device: torch.device,
    capture: Capture,
    sizes: Sequence[int],
    rng: random.Random,
    model: Callable[[type, State], type] = mixed,
) -> Executor:
    """One that serves the model of a folder, with the state of a worker process of its own."""
    state = State(settings)
    mapping = SimpleNamespace(pp_size=1, enable_attention_dp=False)
    lm = model(CausalLM, state)(SimpleNamespace(spec_config=None, mapping=mapping, folder=folder, device=device))
    attention = type("Backend", (Attention,), {"Metadata": tracked(Attention.Metadata, state)})
    host = Executor(lm, attention, KVCache(lm.decoder.config, max(sizes), device), capture, sizes, rng)
    host.state = state
    return host


def requests_of(cases: Cases, default: MoIConfig | None = None) -> list[Request]:
    """As they come through the LLM API; those that are decoded as the server's default bring no processor."""
    made = []
    for i, (prompt, sampling, moi) in enumerate(zip(cases.prompts, cases.sampling, cases.moi, strict=True)):
        processors: list[Any] = []
        if moi != default:
            sent = pickle.dumps(logits_processors(moi, sampling.temperature, sampling.seed))
            processors = pickle.loads(sent)
        made.append(Request(1000 + i, list(prompt), sampling, processors, cases.noise[i]))
    return made
