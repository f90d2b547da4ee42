"""A policy of your own, in a package of your own: MoI that fades out where the best candidate is likely.

pip install examples/custom_policy                                  # it brings the entry point that names POLICY
moi generate --prompt "18 7 7 > 67 :" --policy fade --param share=0.8
python examples/custom_policy/custom_policy.py

From then on servers, exports and evaluations know it as they know those of the project.
"""

from moi import MoIConfig, Parameter, Policy, policy_names


def weights(prior, entropy, best, share, confident):  # type: ignore[no-untyped-def]
    """Weight of the token, weights of the candidates; plain arithmetic, which is compiled for every backend."""
    mixed = share * entropy * (best < confident)
    return 1 - mixed, mixed * prior


SHARE = Parameter("share", 0.5, low=0, high=1, help="of the prior, where the entropy is 1")
CONFIDENT = Parameter("confident", 0.9, low=0, high=1, help="p of the best candidate from which on nothing is mixed")
POLICY = Policy("fade", weights, (SHARE, CONFIDENT))


def main() -> None:
    from moi_engines import SamplingParams, embedded_model, load_engine

    if POLICY.name not in policy_names():
        raise SystemExit("the policy is not installed: pip install examples/custom_policy")
    engine = load_engine("torch", embedded_model())
    sampling = SamplingParams(temperature=0.8, seed=1, max_new_tokens=120)
    for config in MoIConfig("token"), MoIConfig("fade"), MoIConfig("fade", share=1.0, confident=1.0):
        (out,) = engine.generate(["18 7 7 > 67 :"], sampling, config)
        print(f"{config}\n  {out.text}\n  mean intervention {out.mean_intervention:.4f}")


if __name__ == "__main__":
    main()
