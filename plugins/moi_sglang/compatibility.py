"""What does not go with MoI: refused when the server starts, one line that names the flag and the reason."""

from __future__ import annotations

import importlib.metadata
import logging
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

from moi_serving.compatibility import GONE, conflicts
from moi_serving.settings import ServerSettings
from moi_sglang.compatibility_table import CONFLICTS, VARIABLES
from moi_sglang.contract import TESTED
from moi_sglang.host.server import ServedModel, variable

# Models that look token ids up again inside their layers: a mixture has no id.
READS_IDS_ELSEWHERE = (
    *("gemma3n", "gemma4", "gemma4_unified", "longcat_flash_ngram"),
    *("deepseek_v4", "deepseek_v41", "qwen4_exp"),
)
_PER_LAYER_FIELDS = (
    *("hidden_size_per_layer_input", "vocab_size_per_layer_input", "ple_layer_ids"),  # embeddings of each layer
    *("ngram_vocab_size_ratio", "engram_layer_ids"),  # tables of n-grams
    *("num_hash_layers", "n_hash_layers"),  # experts chosen by the id
)


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
    if reason := _architecture(model):
        yield reason
    if settings.moi.top_k > model.vocab_size:
        yield f"--moi-top-k {settings.moi.top_k} is not allowed; the model's vocabulary has {model.vocab_size} ids"


def _architecture(model: ServedModel) -> str | None:
    name = model.name
    fields = sorted({field for text in model.configs for field in _PER_LAYER_FIELDS if _get(text, field)})
    if name.removesuffix("_text") in READS_IDS_ELSEWHERE or fields:
        detail = f" ({', '.join(fields)})" if fields else ""
        return f"--model-path: model type {name!r} reads token ids inside its layers{detail}; a mixture has no token id"
    return None


def refuse_embedding_lora(modules: set[str]) -> None:
    """Names of the modules of adapters that were read: the embedding may be one where no flag says so. SystemExit."""
    if "embed_tokens" in modules:
        refuse(
            "--lora-paths does not go with --enable-moi: an adapter has LoRA on the embedding, which looks ids up again"
        )


def _get(config: Any, field: str) -> Any:
    return config.get(field) if isinstance(config, Mapping) else getattr(config, field, None)


def refuse(reason: str) -> NoReturn:
    """SystemExit, and the reason logged: the launcher of SGLang only says that a child died."""
    logging.getLogger("moi_sglang").error("MoI: %s", reason)
    raise SystemExit(f"MoI: {reason}")
