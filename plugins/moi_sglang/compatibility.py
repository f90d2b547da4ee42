"""What does not go with MoI: refused when the server starts, one line that names the flag and the reason."""

from __future__ import annotations

import importlib.metadata
import logging
from collections.abc import Iterator
from typing import Any, NoReturn

from moi_serving.architectures import reads_ids_inside
from moi_serving.compatibility import GONE, conflicts
from moi_serving.settings import ServerSettings, too_large
from moi_sglang.compatibility_table import CONFLICTS, VARIABLES
from moi_sglang.contract import TESTED
from moi_sglang.host.server import ServedModel, variable


def refusals(args: Any, settings: ServerSettings, model: ServedModel) -> Iterator[str]:
    """Reasons not to start. args: SGLang's, as resolved."""
    yield from untested(settings)
    yield from conflicting(args)
    yield from conflicting_variables()
    yield from unsuitable(model, settings)


def untested(settings: ServerSettings) -> Iterator[str]:
    """A version that the plugin was not tested with, unless that is allowed."""
    version = importlib.metadata.version("sglang")
    if version not in TESTED and not settings.allow_untested:
        yield (
            f"sglang {version} is untested (tested: {', '.join(TESTED)}); "
            "--moi-allow-untested starts on it nevertheless"
        )


def conflicting(args: Any) -> Iterator[str]:
    """Flags that conflict; a field that SGLang no longer has cannot be told to be off, and is a reason, too."""
    for row, value in conflicts(CONFLICTS, args):
        if value is GONE:
            yield f"{row.flag} cannot be checked: the arguments of this SGLang have no field {row.field!r}"
        else:
            yield f"{row.flag} does not go with --enable-moi: {row.reason}"


def conflicting_variables() -> Iterator[str]:
    """Variables that conflict, as SGLang itself reads them."""
    for name, reason in VARIABLES.items():
        value = variable(name, GONE)
        if value is GONE:
            yield f"{name} cannot be checked: the environment of this SGLang has no such variable"
        elif value:
            yield f"{name} does not go with --enable-moi: {reason}"


def unsuitable(model: ServedModel, settings: ServerSettings) -> Iterator[str]:
    """What is wrong with the model."""
    if not model.generates:
        yield "--model-path does not go with --enable-moi: the model does not generate"
    if reason := reads_ids_inside(model.name, model.configs):
        yield f"--model-path: {reason}"
    for name, value in too_large(settings, model.vocab_size).items():
        flag = f"--moi-{name.replace('_', '-')}"
        yield f"{flag} {value} is not allowed; the model's vocabulary has {model.vocab_size} ids"


def refuse_embedding_lora(modules: set[str]) -> None:
    """Names of the modules of adapters that were read: the embedding may be one where no flag says so. SystemExit."""
    if "embed_tokens" in modules:
        refuse(
            "--lora-paths does not go with --enable-moi: an adapter has LoRA on the embedding, which looks ids up again"
        )


def refuse(reason: str) -> NoReturn:
    """SystemExit, and the reason logged: the launcher of SGLang only says that a child died."""
    logging.getLogger("moi_sglang").error("MoI: %s", reason)
    raise SystemExit(f"MoI: {reason}")
