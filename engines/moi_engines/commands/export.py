"""`moi export`: a Hugging Face model as an ONNX folder."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from moi import PRESETS, MoIConfig
from moi_engines.commands.model_arguments import add_model_arguments, model_folder
from moi_onnx.options import DEFAULT_CANDIDATES, DTYPES, FUNCTIONS, VARIANTS, ExportOptions


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Of `moi export`."""
    add_model_arguments(parser, required=True, code=False)
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--force", action="store_true", help="replace a folder that holds an older export alone")
    parser.add_argument("--variant", choices=list(VARIANTS), default="static", help="cache (default: static)")
    parser.add_argument("--max-length", type=int, default=2048, metavar="N", help="positions of the static cache")
    parser.add_argument("--dtype", choices=DTYPES, default="float32")
    parser.add_argument("--functions", choices=FUNCTIONS, default="keep", help="moi:: nodes, or their bodies inline")
    parser.add_argument("--quantize", choices=["int4"], help="weights of the linear layers but the output layer")
    parser.add_argument("--preset", choices=list(PRESETS), default="official", help="K, entropy and prior of the graph")
    parser.add_argument("--mix-top-k", type=int, metavar="K", help="candidates in the mixture (default: the preset's)")
    parser.add_argument(
        "--candidates",
        type=int,
        default=DEFAULT_CANDIDATES,
        metavar="C",
        help=f"of the sampler inside the graph (default: {DEFAULT_CANDIDATES}); rows that need more are drawn outside",
    )
    parser.add_argument("--skip-check", action="store_true", help="do not load the result and compare tokens")


def run(args: argparse.Namespace) -> int:
    """Export a model; 0 if the folder is written."""
    options = _options(args)
    _need("onnx", "onnxscript", "onnxruntime", "transformers")
    from moi_engines.onnx_export import export

    check = None if args.skip_check else lambda model, draft: self_check(model, draft, options)
    out = export(model_folder(args), args.out, options, force=args.force, log=_log, check=check)
    _log(f"wrote {out}")
    return 0


def self_check(model: Path, folder: Path, options: ExportOptions) -> None:
    """onnx.checker, then tokens against the torch engine on equally rounded weights; RuntimeError if they depart."""
    from moi_engines.onnx_selfcheck import check_structure, compare

    check_structure(folder)
    if options.dtype == "bfloat16":
        _log("self-check: structure only; bfloat16 does not run on ONNX Runtime's CPU provider")
        return
    found = compare(model, folder)
    _log(f"self-check against the torch engine: {found}")
    if not found.agrees:
        raise RuntimeError(f"the exported graph decodes otherwise than the torch engine: {found.reason}")


def _options(args: argparse.Namespace) -> ExportOptions:
    mixture = {} if args.mix_top_k is None else {"top_k": args.mix_top_k}
    return ExportOptions(
        variant=args.variant,
        max_length=args.max_length,
        dtype=args.dtype,
        functions=args.functions,
        quantize=args.quantize,
        moi=MoIConfig.preset(args.preset, **mixture),
        candidates=args.candidates,
    )


def _need(*modules: str) -> None:
    from importlib.util import find_spec

    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        raise ImportError(f"{', '.join(missing)} not installed; pip install 'mixture-of-inputs[engine,onnx]'")


def _log(text: str) -> None:
    sys.stderr.write(f"moi export: {text}\n")
    sys.stderr.flush()
