"""A Hugging Face model folder as an ONNX folder.

The folder holds model.onnx, model.onnx.data, moi_config.json, the model's config.json and tokenizer files,
genai_config.json for tools that read its fields, and moi_files.json, the list of them all.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

from moi.rows import policy_layout
from moi_onnx.architectures import cache_shape
from moi_onnx.folder import check_target, whole_folder
from moi_onnx.functions import PLUGIN
from moi_onnx.manifest import CONFIG, DATA, MODEL, Manifest, file_sizes
from moi_onnx.options import ExportOptions

Log = Callable[[str], None]
SelfCheck = Callable[[Path, Path], None]
_COPIED = ("config.json", "generation_config.json", "*token*", "vocab.*", "merges.txt", "chat_template*")
_VERSIONED = ("torch", "transformers", "onnx", "onnxscript", "onnxruntime")
# An .onnx file holds tensors up to this size; the rest goes to model.onnx.data, since protobuf ends at 2 GB.
_SMALL = 1024
_DEFAULTS = ExportOptions()


class Decoder(Protocol):
    """A loaded model folder: the model, the factor of its embedding, vocab, positions and eos in `limits`."""

    @property
    def model(self) -> Any:
        """A Hugging Face decoder, in the type that is exported."""

    @property
    def scale(self) -> Any:
        """What looked-up rows are multiplied with, or None."""

    @property
    def limits(self) -> Any:
        """Its vocabulary, positions and ends of text."""


Load = Callable[[Path, ExportOptions], Decoder]


def write_folder(
    load: Load,
    model: str | Path,
    out: str | Path,
    options: ExportOptions = _DEFAULTS,
    *,
    force: bool = False,
    log: Log = lambda text: None,
    check: SelfCheck | None = None,
) -> Path:
    """Write the ONNX folder `out` of the model folder `model`; `check` sees it (model, draft) before it appears.

    `load` reads the model folder, and may refuse it; it is asked only once the target is known to be free.

    `force` replaces a folder that holds nothing but what an earlier export wrote. Raises FileNotFoundError,
    FileExistsError or ValueError that names the folder or setting; then nothing is written.
    """
    target = Path(out)
    source = Path(model)
    check_target(target, force, (source,))
    log(f"load {source}")
    checkpoint = load(source, options)
    options = _fitted(options, checkpoint.limits.vocab, checkpoint.limits.positions)
    with whole_folder(target, force, keep=(source,), last=CONFIG) as draft:
        _write_graph(checkpoint, options, draft, log)
        manifest = _manifest(checkpoint, options, draft)
        del checkpoint  # the check loads the models of its own
        manifest.write(draft)
        _write_genai(manifest, source, draft)
        _copy_files(source, draft)
        if check is not None:
            log("self-check")
            check(source, draft)
    return target


def _fitted(options: ExportOptions, vocab: int, positions: int | None) -> ExportOptions:
    """The options with what the model decides; ValueError for what it cannot take."""
    if options.moi.top_k > vocab:
        raise ValueError(f"top_k={options.moi.top_k} is not allowed; the model's vocabulary has {vocab} ids")
    if options.variant == "static" and positions is not None and options.max_length > positions:
        raise ValueError(f"max_length={options.max_length} is not allowed; the model has {positions} positions")
    return dataclasses.replace(options, candidates=min(options.candidates, vocab))


def _write_graph(checkpoint: Decoder, options: ExportOptions, draft: Path, log: Log) -> None:
    import onnx_ir as ir

    from moi_onnx.graph import step_graph

    log(f"trace the {options.variant} step")
    graph = step_graph(checkpoint.model, checkpoint.scale, options)
    if options.quantize:
        from moi_onnx.quantize import quantize_int4

        log("quantize to int4")
        graph = quantize_int4(graph, draft)
    log("write")
    ir.save(graph, draft / MODEL, external_data=DATA, size_threshold_bytes=_SMALL)


def _manifest(checkpoint: Decoder, options: ExportOptions, draft: Path) -> Manifest:
    config, limits = checkpoint.model.config, checkpoint.limits
    heads, width = cache_shape(config)
    static = options.variant == "static"
    names = ["MixEmbed", "MixInputs"] if options.mixing else ["MixEmbed"]
    return Manifest(
        variant=options.variant,
        dtype=options.dtype,
        functions=options.functions,
        quantize=options.quantize,
        mixing=options.mixing,
        top_k=options.moi.top_k,
        entropy=options.moi.entropy,
        prior=options.moi.prior,
        policies={name: list(parameters) for name, parameters in policy_layout().items()},
        candidates=options.candidates,
        vocab=limits.vocab,
        max_length=options.max_length if static else None,
        positions=options.max_length if static else limits.positions,
        eos=sorted(limits.eos),
        layers=config.num_hidden_layers,
        heads=heads,
        width=width,
        files=file_sizes(draft),
        plugins=[{"name": name, **PLUGIN} for name in names] if options.functions == "keep" else [],
        versions={name: version(name) for name in _VERSIONED} | {"mixture-of-inputs": version("mixture-of-inputs")},
    )


def _write_genai(manifest: Manifest, source: Path, draft: Path) -> None:
    """Fields that other tools read. onnxruntime-genai itself cannot run the graph: it insists on input_ids."""
    config = json.loads((source / "config.json").read_text())
    decoder = {
        "filename": MODEL,
        "head_size": manifest.width,
        "hidden_size": config.get("hidden_size"),
        "num_attention_heads": config.get("num_attention_heads"),
        "num_hidden_layers": manifest.layers,
        "num_key_value_heads": manifest.heads,
    }
    model = {
        "type": config.get("model_type"),
        "vocab_size": manifest.vocab,
        "context_length": manifest.positions,
        "eos_token_id": manifest.eos,
        "decoder": decoder,
    }
    (draft / "genai_config.json").write_text(json.dumps({"model": model}, indent=2) + "\n")


def _copy_files(source: Path, draft: Path) -> None:
    for pattern in _COPIED:
        for file in sorted(source.glob(pattern)):
            if file.is_file():
                shutil.copyfile(file, draft / file.name)
