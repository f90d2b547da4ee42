"""Train the Countdown model: `python -m moi_eval.countdown.train --out DIR` writes a Hugging Face folder.

The number of steps is fixed, so a seed gives the same weights on the same machine, torch version and thread count.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.optim import AdamW, Muon, Optimizer

from moi_eval.countdown import batches
from moi_eval.countdown.folder import save
from moi_eval.countdown.problems import GAMES
from moi_eval.countdown.recipe import Recipe, build_model
from moi_onnx.folder import check_target, whole_folder

if TYPE_CHECKING:
    from transformers import Qwen3ForCausalLM


@dataclass(frozen=True, slots=True)
class Progress:
    """Where training stands: steps taken, tokens read without padding, mean loss of the last step in nats per token."""

    steps: int = 0
    tokens: int = 0
    loss: float = float("nan")


def train(recipe: Recipe, report: Callable[[Progress], None] | None = None) -> Qwen3ForCausalLM:
    """A model trained from scratch, in float32, ready to evaluate; torch's global random state is left as it was.

    report  called after every step
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        model = build_model(recipe.architecture).train()
    optimizers, progress = _optimizers(model, recipe), Progress()
    for step, (inputs, labels) in zip(range(recipe.steps), batches.stream(recipe), strict=False):
        _set_rate(optimizers, recipe.rate(step))
        loss = _update(model, optimizers, inputs, labels)
        tokens = progress.tokens + int((inputs != model.config.pad_token_id).sum())
        progress = Progress(step + 1, tokens, loss)
        if report is not None:
            report(progress)
    return model.eval()


def _optimizers(model: Qwen3ForCausalLM, recipe: Recipe) -> list[Optimizer]:
    """Muon for the matrices inside the layers, AdamW for the embedding and the scales of the norms.

    With AdamW for everything the loss after 1000 steps is 0.37 in place of 0.28.
    """
    embedding = model.get_input_embeddings().weight
    matrices = [p for p in model.parameters() if p.dim() == 2 and p is not embedding]
    others = [embedding, *(p for p in model.parameters() if p.dim() == 1)]
    rate, decay = recipe.learning_rate, recipe.weight_decay
    return [
        # its updates are scaled to the size of AdamW's, so that both share one rate
        Muon(matrices, lr=rate, weight_decay=decay, adjust_lr_fn="match_rms_adamw"),
        AdamW(others, lr=rate, betas=(0.9, 0.98), weight_decay=0.0, fused=True),
    ]


def _set_rate(optimizers: list[Optimizer], rate: float) -> None:
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = rate


def _update(model: Qwen3ForCausalLM, optimizers: list[Optimizer], inputs: Tensor, labels: Tensor) -> float:
    """One step; returns the mean loss before it."""
    # No attention mask: padding is on the right, and a causal model never sees what follows.
    logits = model(input_ids=inputs, use_cache=False).logits
    loss = cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=batches.IGNORED)
    model.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    for optimizer in optimizers:
        optimizer.step()
    return loss.item()


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line; what cannot be trained or written is refused before training starts."""
    from transformers.utils import logging as transformers_logging

    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        recipe = Recipe(seed=options.seed, steps=options.steps, game=GAMES[options.numbers])
    except ValueError as error:
        parser.error(str(error))
    torch.set_num_threads(options.threads)
    transformers_logging.disable_progress_bar()  # of the one file that is written
    check_target(options.out, options.force)
    model = _train_with_bar(recipe)
    with whole_folder(options.out, options.force, last="config.json") as draft:
        save(model, draft)


def _parser() -> argparse.ArgumentParser:
    default = Recipe()
    parser = argparse.ArgumentParser("python -m moi_eval.countdown.train", description="Train the Countdown model.")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--force", action="store_true", help="replace a folder that an earlier run wrote")
    parser.add_argument("--numbers", type=int, choices=list(GAMES), default=default.game.count, help="of each problem")
    parser.add_argument("--seed", type=int, default=default.seed, help="of weights and data (default %(default)s)")
    parser.add_argument("--steps", type=int, default=default.steps, help="optimiser steps (default %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default %(default)s)")
    return parser


def _train_with_bar(recipe: Recipe) -> Qwen3ForCausalLM:
    """Train with a progress bar on a terminal, and silently elsewhere."""
    from rich.console import Console
    from rich.progress import Progress as Bar
    from rich.progress import TimeElapsedColumn

    columns = (*Bar.get_default_columns(), TimeElapsedColumn())
    with Bar(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("training", total=recipe.steps)

        def show(now: Progress) -> None:
            bar.update(task, completed=now.steps, description=f"{now.tokens:,} tokens, loss {now.loss:.3f}")

        return train(recipe, show)


if __name__ == "__main__":
    main()
