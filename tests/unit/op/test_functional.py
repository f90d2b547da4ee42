"""mix and embed at the door: what they accept and how they say no."""

import math

import pytest
import torch

import moi

LOGITS, TOKEN = torch.randn(3, 10), torch.tensor([0, 1, 2])
CONFIG = moi.MoIConfig(top_k=4)


def test_rows_may_be_strided_and_numbers_may_stand_for_rows():
    wide = torch.randn(6, 20)
    strided = moi.mix(wide[::2, ::2], TOKEN, CONFIG, beta=torch.full((3,), 2.0))
    packed = moi.mix(wide[::2, ::2].contiguous(), TOKEN.int(), CONFIG, beta=2.0)
    assert all(torch.equal(a, b) for a, b in zip(strided, packed, strict=True))


def test_a_policy_a_row_may_be_named_by_codes():
    got = moi.mix(LOGITS, TOKEN, CONFIG, policy=moi.policy_codes(["token", "moi", "direct"]))
    for row, name in enumerate(("token", "moi", "direct")):
        assert torch.equal(got.weights[row], moi.mix(LOGITS, TOKEN, CONFIG, policy=name).weights[row])


def test_a_parameter_overrides_the_config_in_rows_whose_policy_declares_it():
    codes = moi.policy_codes(["moi", "direct", "moi"])
    by_name = moi.mix(LOGITS, TOKEN, CONFIG, policy=codes, parameters={"beta": torch.tensor([0.5, -1.0, 4.0])})
    short = moi.mix(LOGITS, TOKEN, CONFIG, policy=codes, beta=torch.tensor([0.5, 3.0, 4.0]))
    table = moi.mix(
        LOGITS, TOKEN, CONFIG, policy=codes, parameters=torch.tensor([[0.5, 0, 0, 1], [0.0, 0, 0, 1], [4.0, 0, 0, 1]])
    )
    assert torch.equal(by_name.weights, short.weights)
    assert torch.equal(by_name.weights, table.weights)
    for row, config in enumerate((moi.MoIConfig(beta=0.5, top_k=4), moi.MoIConfig("direct", top_k=4))):
        assert torch.equal(by_name.weights[row], moi.mix(LOGITS, TOKEN, config).weights[row])


def test_embed_writes_into_out():
    table, out = torch.randn(10, 6), torch.full((3, 6), math.nan)
    mixture = moi.mix(LOGITS, TOKEN, CONFIG)
    assert moi.embed(mixture, table, out=out) is out
    assert torch.equal(out, moi.embed(mixture, table))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"logits": LOGITS[0]}, ["logits", "[B,V]", "[10]"]),
        ({"logits": LOGITS.int()}, ["logits", "float32", "torch.int32"]),
        ({"logits": LOGITS.double()}, ["logits", "float32", "torch.float64"]),
        ({"token": TOKEN[:2]}, ["token", "[3]", "[2]"]),
        ({"token": TOKEN.float()}, ["token", "torch.int64", "torch.float32"]),
        ({"token": torch.tensor([0, 10, 1])}, ["token holds 10", "0..9"]),
        ({"token": torch.tensor([0, -1, 1])}, ["token holds -1", "0..9"]),
        ({"config": moi.MoIConfig(top_k=11)}, ["top_k=11", "1..10"]),
        ({"beta": -1.0}, ["beta=-1.0", ">= 0"]),
        ({"beta": torch.tensor([1.0, math.nan, 1.0])}, ["beta holds nan", ">= 0"]),
        ({"beta": torch.tensor([1.0, -2.0, 1.0])}, ["beta holds -2.0", ">= 0"]),
        ({"temperature": -0.1}, ["temperature=-0.1", ">= 0"]),
        ({"temperature": math.inf}, ["temperature=inf", "finite"]),
        ({"parameters": {"beta": -1.0}}, ["beta=-1.0", ">= 0"]),
        ({"parameters": {"gamma": 1.0}}, ["'gamma'", "'moi'", "beta"]),
        ({"parameters": {"beta": 1.0}, "policy": "direct"}, ["'direct'", "'beta'", "none"]),
        ({"parameters": {"gamma": TOKEN.float()}, "policy": TOKEN}, ["'gamma'", "beta"]),
        ({"parameters": torch.ones(3)}, ["parameters", "[3,4]", "[3]"]),
        ({"policy": "greedy"}, ["policy='greedy'", "token, moi, direct"]),
        ({"policy": torch.tensor([0, 1, 99])}, ["policy holds 99", f"0..{len(moi.load_policies()) - 1}"]),
        ({"implementation": "cuda"}, ["implementation='cuda'", "reference, numba, triton, flashinfer"]),
    ],
)
def test_mix_names_what_is_wrong(change, words):
    arguments = {"logits": LOGITS, "token": TOKEN, "config": CONFIG} | change
    with pytest.raises(ValueError) as error:
        moi.mix(arguments.pop("logits"), arguments.pop("token"), arguments.pop("config"), **arguments)
    assert all(word in str(error.value) for word in words), str(error.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"table": torch.randn(10)}, ["table", "[rows,D]"]),
        ({"table": torch.ones(10, 4).int()}, ["table", "floating-point"]),
        ({"table": torch.randn(5, 4)}, ["mixture.ids holds", "0..4"]),
        ({"shard": (4, 20)}, ["shard=(4, 20)", "10"]),
        ({"shard": (-1, 5)}, ["shard=(-1, 5)", "0 <= start"]),
        ({"out": torch.empty(3, 5)}, ["out must be", "[3, 5]"]),
        ({"out": torch.empty(3, 4).half()}, ["out must be torch.float32", "torch.float16"]),
    ],
)
def test_embed_names_what_is_wrong(change, words):
    arguments = {"table": torch.randn(10, 4)} | change
    mixture = moi.mix(torch.zeros(3, 10), torch.tensor([9, 9, 9]), CONFIG)
    with pytest.raises(ValueError) as error:
        moi.embed(mixture, arguments.pop("table"), **arguments)
    assert all(word in str(error.value) for word in words), str(error.value)


@pytest.mark.parametrize("tiny", [1e-39, 2.2e-308, 5e-324, torch.full((3,), 1e-39), torch.full((3,), 1e-300).double()])
def test_temperatures_too_small_to_divide_by_are_greedy(tiny):
    config = moi.MoIConfig(top_k=4, prior="sampling")
    got, greedy = (moi.mix(LOGITS, TOKEN, config, temperature=t) for t in (tiny, 0.0))
    assert all(torch.equal(a, b) for a, b in zip(got, greedy, strict=True))


def test_numbers_beyond_float32():
    with pytest.raises(ValueError, match="temperature is larger than float32 holds"):
        moi.mix(LOGITS, TOKEN, CONFIG, temperature=1e39)
    assert torch.equal(moi.mix(LOGITS, TOKEN, CONFIG, beta=1e39).intervention, torch.zeros(3))
