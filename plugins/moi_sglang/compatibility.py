"""What does not go with MoI: refused when the server starts, one line that names the flag and the reason."""

from __future__ import annotations

import importlib.metadata
import logging
from collections.abc import Iterable, Iterator
from typing import Any, NoReturn

from moi.architectures import reads_ids_inside
from moi_serving.compatibility import GONE, Conflict, conflicts
from moi_serving.settings import ServerSettings, too_large
from moi_sglang.compatibility_table import CONFLICTS, VARIABLES
from moi_sglang.contract import TESTED
from moi_sglang.host import server as host


def refusals(args: Any, settings: ServerSettings, model: Any) -> Iterator[str]:
    """Reasons not to start. args: SGLang's, as resolved; model: its ModelConfig."""
    yield from untested(settings)
    yield from conflicting(CONFLICTS, args)
    yield from conflicting(VARIABLES, host.variables(row.field for row in VARIABLES))
    yield from unsuitable(model, settings)


def untested(settings: ServerSettings) -> Iterator[str]:
    """A version that the plugin was not tested with, unless that is allowed."""
    version = importlib.metadata.version("sglang")
    if version not in TESTED and not settings.allow_untested:
        yield (
            f"sglang {version} is untested (tested: {', '.join(TESTED)}); "
            "--moi-allow-untested starts on it nevertheless"
        )


def conflicting(table: Iterable[Conflict], found: Any) -> Iterator[str]:
    """Rows that conflict; what SGLang no longer has cannot be told to be off, and is a reason, too."""
    for row, value in conflicts(table, found):
        if value is GONE:
            yield f"{row.flag} cannot be checked: this SGLang has no {row.field!r}"
        else:
            yield f"{row.flag} does not go with --enable-moi: {row.reason}"


def unsuitable(model: Any, settings: ServerSettings) -> Iterator[str]:
    """What is wrong with the model."""
    if not host.generates(model):
        yield "--model-path does not go with --enable-moi: the model does not generate"
    if reason := reads_ids_inside(host.config(model), host.text_config(model)):
        yield f"--model-path: {reason}"
    vocab_size = host.vocab_size(model)
    for name, value in too_large(settings, vocab_size).items():
        yield f"--moi-{name.replace('_', '-')} {value} is not allowed; the model's vocabulary has {vocab_size} ids"


def refuse(reason: str) -> NoReturn:
    """SystemExit, and the reason logged: the launcher of SGLang only says that a child died."""
    logging.getLogger("moi_sglang").error("MoI: %s", reason)
    raise SystemExit(f"MoI: {reason}")
