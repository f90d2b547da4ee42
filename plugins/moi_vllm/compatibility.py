"""What does not go with MoI: refused when the server starts, one line that names the flag and the reason."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any, NoReturn

from moi.architectures import reads_ids_inside
from moi_serving.compatibility import GONE, conflicts
from moi_serving.settings import ServerSettings, too_large
from moi_vllm.compatibility_table import CONFLICTS
from moi_vllm.contract import TESTED
from moi_vllm.host import server


def refusals(vllm_config: Any, settings: ServerSettings) -> Iterator[str]:
    """Reasons not to start."""
    yield from untested(settings)
    yield from conflicting(vllm_config)
    yield from unsuitable(server.served_model(vllm_config), settings)


def untested(settings: ServerSettings) -> Iterator[str]:
    """A version that the plugin was not tested with, unless that is allowed."""
    version = server.version()
    if version not in TESTED and not settings.allow_untested:
        yield (
            f"vllm {version} is untested (tested: {', '.join(TESTED)}); "
            '"allow_untested": true in --additional-config starts on it nevertheless'
        )


def conflicting(vllm_config: Any) -> Iterator[str]:
    """Flags that conflict; a field that vLLM no longer has cannot be told to be off, and is a reason, too."""
    for row, value in conflicts(CONFLICTS, vllm_config):
        if value is GONE:
            yield f"{row.flag} cannot be checked: the configuration of this vLLM has no field {row.field!r}"
        else:
            yield f"{row.flag} does not go with MoI: {row.reason}"


def unsuitable(model: server.ServedModel, settings: ServerSettings) -> Iterator[str]:
    """What is wrong with the model."""
    if reason := reads_ids_inside(*model.configs):
        yield f"--model: {reason}"
    for name, value in too_large(settings, model.vocab_size).items():
        yield f"{name}={value} is not allowed; the model's vocabulary has {model.vocab_size} ids"


def refuse(reason: str) -> NoReturn:
    """SystemExit, and the reason logged: vLLM only says that a process died."""
    logging.getLogger("vllm.moi").error("MoI: %s", reason)
    raise SystemExit(f"MoI: {reason}")
