"""Ask a server with the `openai` client: plainly, and with MoI, and print what it tells of the mixtures.

pip install openai 'mixture-of-inputs[sglang]'
moi serve                                                 # in another terminal; --model for one of yours
python examples/openai_client.py [--url http://HOST:PORT/v1] [--prompt "..."]
"""

import argparse
from typing import Any

import openai

ASKED: dict[str, dict[str, Any]] = {
    "plain": {"policy": "token"},
    "MoI, beta 0.5": {"beta": 0.5},
    "Gumbel soft thinking": {"policy": "gumbel", "tau": 0.5, "seed": 7},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:30000/v1", help="default: %(default)s")
    parser.add_argument("--prompt", default="18 7 7 > 67 :")
    parser.add_argument("--max-tokens", type=int, default=64)
    args = parser.parse_args()

    with openai.OpenAI(base_url=args.url, api_key="none") as client:
        model = client.models.list().data[0].id
        for name, settings in ASKED.items():
            # vLLM takes the same settings as flat keys: extra_body={"vllm_xargs": {"moi_beta": 0.5}}.
            answer = client.chat.completions.create(
                model=model,
                messages=[{"role": "user", "content": args.prompt}],
                max_tokens=args.max_tokens,
                temperature=0.8,
                extra_body={"custom_params": {"moi": settings}, "return_meta_info": True},
            )
            (choice,) = answer.choices
            print(f"\n{name}: {choice.message.content!r}")
            telemetry = (choice.model_extra or {}).get("meta_info", {}).get("moi")
            print(f"  telemetry: {telemetry or 'none: nothing was mixed'}")

        try:  # a mistake is a 400 that says what is allowed
            client.chat.completions.create(
                model=model,
                messages=[{"role": "user", "content": args.prompt}],
                extra_body={"custom_params": {"moi": {"beta": -1}}},
            )
        except openai.BadRequestError as error:
            print(f"\nrefused: {error.message}")


if __name__ == "__main__":
    main()
