"""Decode prompts in this process, each with settings of its own, and stream one of them token by token.

pip install 'mixture-of-inputs[engine,cpu]'
python examples/offline_generation.py [--model FOLDER_OR_HUB_ID_OR_GGUF]
"""

import argparse

from moi import MoIConfig
from moi_engines import SamplingParams, embedded_model, load_engine

PROMPTS = ["18 7 7 > 67 :", "2 3 4 > 24 :", "5 6 1 > 31 :"]
SETTINGS = [MoIConfig("token"), MoIConfig(beta=0.5), MoIConfig("soft", top_p=0.9, prior="raw")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=embedded_model(), help="default: the Countdown solver that is installed")
    parser.add_argument("--prompt", nargs="+", default=PROMPTS, help="as many as you like; settings take turns")
    args = parser.parse_args()

    engine = load_engine("torch", args.model)
    sampling = SamplingParams(temperature=0.8, seed=1, max_new_tokens=170)
    settings = [SETTINGS[i % len(SETTINGS)] for i in range(len(args.prompt))]
    for prompt, config, out in zip(
        args.prompt, settings, engine.generate(args.prompt, sampling, settings), strict=True
    ):
        print(f"\n{config}\n  {prompt} {out.text}")
        print(f"  {len(out.token_ids)} tokens, {out.mixed_tokens} fed as mixtures, ends by {out.finish_reason}")
        print(f"  mean entropy {out.mean_entropy:.3f}, mean intervention {out.mean_intervention:.3f}")

    print("\nToken by token: text, entropy of its distribution, share of the next input that is not this token")
    for event in engine.stream(args.prompt[:1], sampling, MoIConfig(beta=0.5)):
        print(f"  {event.text!r:>10}  {event.entropy:.3f}  {event.intervention:.3f}")


if __name__ == "__main__":
    main()
