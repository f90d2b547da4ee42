"""Export a model to ONNX, one decode step and mixture in one graph, and decode with ONNX Runtime.

pip install 'mixture-of-inputs[engine,cpu,onnx]'
python examples/export_and_run.py [--model FOLDER_OR_HUB_ID] [--out FOLDER]
"""

import argparse
import tempfile
from pathlib import Path

import onnx

from moi import MoIConfig
from moi_engines import SamplingParams, embedded_model, load_engine
from moi_engines.onnx_export import export
from moi_onnx.options import ExportOptions


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=embedded_model(), help="default: the Countdown solver that is installed")
    parser.add_argument("--out", type=Path, help="folder to write; default: one that is removed again")
    parser.add_argument("--max-length", type=int, default=256, help="positions of the cache (default: %(default)s)")
    args = parser.parse_args()

    with tempfile.TemporaryDirectory() as scratch:
        folder = export(args.model, args.out or Path(scratch, "exported"), ExportOptions(max_length=args.max_length))
        (file,) = folder.glob("*.onnx")
        graph = onnx.load(file, load_external_data=False).graph
        print(f"{file.name}: {len(graph.node)} nodes, of MoI: {[n.op_type for n in graph.node if n.domain == 'moi']}")

        prompts = ["18 7 7 > 67 :", "2 3 4 > 24 :"]
        sampling = SamplingParams(temperature=0.8, seed=1, max_new_tokens=120)
        settings = [MoIConfig(beta=0.5), MoIConfig("token")]  # one graph has every policy, row by row
        shipped = load_engine("onnxruntime", folder).generate(prompts, sampling, settings)
        trained = load_engine("torch", args.model).generate(prompts, sampling, settings)
        for prompt, config, mine, theirs in zip(prompts, settings, shipped, trained, strict=True):
            print(f"\n{config.policy}: {prompt} {mine.text}")
            same = sum(a == b for a, b in zip(mine.token_ids, theirs.token_ids, strict=False))
            print(f"  {same} of {len(mine.token_ids)} tokens are those of the torch engine with the same noise")


if __name__ == "__main__":
    main()
