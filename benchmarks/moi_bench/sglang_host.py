"""What the SGLang plugin costs the host in a decode step: its hooks, called as SGLang calls them."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import torch

from moi import MoIConfig
from moi_bench.host_step import TARGET_US, Model, timed, total
from moi_bench.rows import Row
from moi_bench.runner import shared


class HostStep:
    """The hooks of one decode step of `batch` mixed requests, called as SGLang calls them."""

    def __init__(self, device: torch.device, batch: int, vocab: int, width: int) -> None:
        from moi_serving.metrics import Metrics
        from moi_serving.settings import ServerSettings
        from moi_sglang.batches import Batches
        from moi_sglang.embedding import Embedding
        from moi_sglang.runtime import BatchMetadata, Runtime
        from moi_sglang.sampling import Sampling

        self.runtime = Runtime(ServerSettings(), Metrics())
        self.sampling, self.batches = Sampling(self.runtime), Batches(self.runtime)
        self.table = torch.nn.Embedding(vocab, width, device=device).requires_grad_(False)
        self.lookup = self.table.forward
        self.runner = SimpleNamespace(
            is_draft_worker=False,
            device=device,
            model=SimpleNamespace(get_input_embeddings=lambda: self.table),
            model_config=SimpleNamespace(vocab_size=vocab),
            req_to_token_pool=SimpleNamespace(req_to_token=torch.empty(batch + 1, 1)),
        )
        Embedding(self.runtime).pool_allocated(None, self.runner)
        tables = self.runtime.slots.tables
        tables.policy.fill_(1)
        tables.parameters.fill_(1)
        tables.parameters[:, -2] = 0  # min_entropy
        slots = torch.arange(1, batch + 1, device=device)
        self.logits = torch.randn(batch, vocab, device=device)
        self.tokens = self.logits.argmax(-1)
        self.info = SimpleNamespace(temperatures=torch.ones(batch, 1, device=device))
        mode = SimpleNamespace(is_decode=lambda: True, is_extend=lambda: False)
        self.forward = SimpleNamespace(req_pool_indices=slots, seq_lens=slots + 9, positions=slots + 9)
        self.forward.forward_mode, self.forward.moi_metadata = mode, BatchMetadata(active=True)
        self.runtime.batch = self.forward
        self.output = SimpleNamespace(next_token_logits=self.logits, auxiliary_device_output=None)
        self.requests = [_request() for _ in range(batch)]
        self.commits = [SimpleNamespace(token_ids=(int(token),), output_index=0) for token in self.tokens]

    def sample(self) -> None:
        """Compute and store the mixtures of a sampled batch."""
        self.sampling.sample(self._sampler, self.runner, self.output, self.forward)

    def _sampler(self, runner: Any, output: Any, forward: Any) -> torch.Tensor:
        self.sampling.logits_final(None, None, self.logits, self.info)
        output.auxiliary_device_output = None
        return self.tokens

    def embed(self) -> None:
        """Embed the batch that was sampled."""
        self.table.forward(self.tokens)

    def plain(self) -> None:
        """What SGLang does without the plugin, which `embed` holds as well."""
        self.lookup(self.tokens)

    def batch(self) -> None:
        """Make the next batch."""
        self.batches.made(
            self.forward, None, SimpleNamespace(forward_mode=self.forward.forward_mode, beam_tail=None), self.runner
        )

    def records(self) -> None:
        """Consume what the sample recorded."""
        from moi_sglang.telemetry import Telemetry

        rows = self.runtime.slots.tables.mixtures[1:].cpu()
        Telemetry(rows, self.runtime.metrics).consume(SimpleNamespace(reqs=self.requests), self.commits)


def host_time(device: torch.device, batch: int = 8, vocab: int = 512, width: int = 64) -> Iterator[Row]:
    """What the hooks of one decode step cost the host."""
    common = {**shared(device, "sglang"), "what": "host time per decode step", "batch": batch}
    with torch.inference_mode():
        step, model = HostStep(device, batch, vocab, width), Model(device, batch, vocab, width)
        calls = (step.sample, step.embed, step.batch, step.records)
        timings = {call.__name__: timed(call, model.step) for call in calls}
        plain = timed(step.plain, model.step)
    for name, timing in timings.items():
        yield {**common, "piece": name, **timing._asdict()}
    yield {**common, "piece": "total", **total(timings, plain), "target_us": TARGET_US}


def _request() -> Any:
    from moi_serving.mixing_marks import Marks
    from moi_serving.replay import RequestState
    from moi_serving.settings import RequestSettings

    return SimpleNamespace(moi=RequestState(RequestSettings(MoIConfig()), Marks()), customized_info=None)
