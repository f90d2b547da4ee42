"""What the vLLM plugin costs the host in a decode step: its hooks, called as vLLM calls them. Needs vLLM."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from moi_bench.host_step import TARGET_US, Model, timed, total
from moi_bench.rows import Row
from moi_bench.runner import shared

_LENGTH = 9  # tokens of a prompt


class _Event:
    def synchronize(self) -> None:
        """The rows are copied when they are asked for."""


class HostStep:
    """The hooks of one decode step of `batch` mixed requests, called as vLLM calls them."""

    def __init__(self, device: torch.device, batch: int, vocab: int, width: int) -> None:
        from moi_serving.settings import ServerSettings
        from moi_vllm.runtime import Runtime
        from moi_vllm.sampling import Sampling

        self.table = torch.nn.Embedding(vocab, width, device=device).requires_grad_(False)
        self.lookup = self.table.forward
        model = SimpleNamespace(get_input_embeddings=lambda: self.table, embed_input_ids=lambda ids: self.table(ids))
        config = SimpleNamespace(get_vocab_size=lambda: vocab)
        self.runtime = Runtime(ServerSettings())
        self.runtime.start(SimpleNamespace(max_num_reqs=batch, model_config=config, device=device), model)
        self.sampling = Sampling(self.runtime)
        prompt = list(range(1, _LENGTH + 1))
        for slot in range(batch):
            params = SimpleNamespace(extra_args={"moi_beta": 1.0}, seed=None)
            request = SimpleNamespace(
                req_id=str(slot), prefill_token_ids=prompt, prompt_len=_LENGTH, sampling_params=params
            )
            self.runtime.add_request(slot, request)
        self.runtime.apply_staged()
        self.logits = torch.randn(batch, vocab, device=device)
        self.sampler = SimpleNamespace(
            sampling_states=SimpleNamespace(temperature=SimpleNamespace(gpu=torch.ones(batch, device=device)))
        )
        self.batch = _batch(device, batch, self.logits.argmax(-1))
        self.sample()
        self.records()
        self.scheduler, self.scheduled, self.outputs = _scheduled(batch)

    def sample(self) -> None:
        """Compute and store the mixtures of a sampled batch."""
        self.sampled = self.sampling.sample(self._sample, self.sampler, self.logits, self.batch)

    def _sample(self, *_: Any) -> Any:
        self.sampling.final(self.logits)
        return SimpleNamespace(sampled_token_ids=self.batch.input_ids.view(-1, 1))

    def embed(self) -> None:
        """Embed the batch that was sampled."""
        from moi_vllm.mixing import change_of

        self.runtime.embedding.embed(self.batch.input_ids, change_of(self.runtime, self.batch))

    def plain(self) -> None:
        """What vLLM does without the plugin, which `embed` holds as well."""
        self.lookup(self.batch.input_ids)

    def advance(self) -> None:
        """To the next step, and sample it."""
        self.batch.seq_lens_cpu_upper_bound += 1
        self.sample()

    def records(self) -> None:
        """Bring the rows to the host, report them and keep them."""
        from moi_vllm.host.worker import kept_rows

        step = kept_rows(self.sampled)
        step.host = step.device.to("cpu", copy=True).numpy()
        self.report = step.records()
        step.copied_by(_Event())
        self.runtime.drain(keep=0)

    def core(self) -> None:
        """Send the records with the tokens of a step."""
        from moi_vllm.host.worker import report
        from moi_vllm.scheduling import step_ends

        output = SimpleNamespace()
        report(output, self.report)
        step_ends(lambda *_: self.outputs, self.scheduler, self.scheduled, output)


def host_time(device: torch.device, batch: int = 8, vocab: int = 512, width: int = 64) -> Iterator[Row]:
    """What the hooks of one decode step cost the host: of a worker, and of the engine core ("core")."""
    common = {**shared(device, "vllm"), "what": "host time per decode step", "batch": batch}
    with torch.inference_mode():
        step, model = HostStep(device, batch, vocab, width), Model(device, batch, vocab, width)
        timings = {call.__name__: timed(call, model.step) for call in (step.sample, step.embed, step.core)}
        timings["records"] = timed(step.records, model.step, step.advance)
        plain = timed(step.plain, model.step)
    for name, timing in timings.items():
        yield {**common, "piece": name, **timing._asdict()}
    yield {**common, "piece": "total", **total(timings, plain), "target_us": TARGET_US}


def _batch(device: torch.device, batch: int, tokens: torch.Tensor) -> Any:
    """Of one token each, as vLLM's runner describes it. The token is due where its own sample says."""
    following = torch.full((batch,), _LENGTH, dtype=torch.int32, device=device)
    return SimpleNamespace(
        req_ids=[str(slot) for slot in range(batch)],
        num_reqs=batch,
        num_tokens=batch,
        idx_mapping=torch.arange(batch, device=device),
        idx_mapping_np=np.arange(batch),
        input_ids=tokens.int(),
        positions=torch.full((batch,), _LENGTH, device=device),
        seq_lens=following,
        seq_lens_cpu_upper_bound=following.cpu(),
        prefill_len_np=np.full(batch, _LENGTH),
        num_computed_tokens_np=np.full(batch, _LENGTH),
        num_scheduled_tokens=np.ones(batch, np.int64),
    )


def _scheduled(batch: int) -> tuple[Any, Any, Any]:
    """The engine core's side of the step: its scheduler, what was scheduled, and its outputs."""
    names = [str(slot) for slot in range(batch)]
    outputs = [SimpleNamespace(request_id=name, new_token_ids=[1], kv_transfer_params=None) for name in names]
    scheduler = SimpleNamespace(requests={})
    return (
        scheduler,
        SimpleNamespace(num_scheduled_tokens=dict.fromkeys(names, 1)),
        {0: SimpleNamespace(outputs=outputs)},
    )
