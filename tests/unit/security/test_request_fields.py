"""Whatever JSON a client sends as settings: they are accepted within bounds, or refused in one short line.

Property-based: any JSON value for any key, the known keys and their near misses more often than others.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from moi import MoIConfig, policy_names
from moi.policies import policy_named
from moi_serving.environment import FLAGS
from moi_serving.settings import RequestSettings, ServerSettings, request_settings
from moi_sglang.flags import server_settings as sglang_server
from moi_tensorrt_llm.server_settings import server_settings as tensorrt_llm_server
from moi_vllm.settings import asked
from moi_vllm.settings import server_settings as vllm_server

LONGEST = 600  # characters of a refusal, whatever was sent: every policy's keys may be listed in it
HUGE = (10**400, -(10**400), 2**63, 2**63 - 1, 2**31, -1, 1e308, math.inf, -math.inf, math.nan, 1e-320, -0.0)
PARAMETERS = sorted({name for policy in policy_names() for name in policy_named(policy).names})
KEYS = ("policy", "until", "per_token", "seed", "top_k", "entropy", "prior", "preset", "parameters", *PARAMETERS)
WORDS = ("think_end", "inf", "nan", "token", "official", "x" * 100_000, "a\nb", "\u2028\x00\x1b[31m", "")

numbers = st.one_of(st.integers(), st.floats(), st.sampled_from(HUGE))
words = st.one_of(st.text(max_size=20), st.sampled_from((*WORDS, *policy_names())))
scalars = st.one_of(st.none(), st.booleans(), numbers, words)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=4), max_leaves=12
)
keys = st.one_of(st.sampled_from((*KEYS, "min_entropy", "max_entropy")), words)
settings = st.dictionaries(keys, scalars | values, max_size=6)
servers = st.sampled_from([ServerSettings(MoIConfig(name)) for name in policy_names()])


def deep(levels: int, value: Any = None) -> Any:
    for _ in range(levels):
        value = [value]
    return value


def refusal(parse: Callable[[], Any]) -> tuple[Any, str | None]:
    """What was parsed, or the one line that says why not; any other exception fails the test."""
    try:
        return parse(), None
    except ValueError as error:
        reason = str(error)
    assert reason.isprintable(), reason
    assert 0 < len(reason) <= LONGEST, reason[:2000]
    return None, reason


def check_bounds(found: RequestSettings, server: ServerSettings) -> None:
    """Accepted settings are finite where they must be, within what was declared, and the server's where it decides."""
    policy = policy_named(found.moi.policy)
    for parameter in policy.parameters:
        value = dict(found.moi.parameters)[parameter.name]
        assert parameter.holds(value), (parameter.name, value)
        assert value == math.inf or abs(value) < 3.5e38
    assert 0 <= found.moi.min_entropy <= 1
    assert 0 <= found.moi.max_entropy <= 1
    assert (found.moi.top_k, found.moi.entropy, found.moi.prior) == (
        server.moi.top_k,
        server.moi.entropy,
        server.moi.prior,
    )
    assert type(found.per_token) is bool
    assert found.seed is None or 0 <= found.seed < 2**63
    assert found.mix_until in (None, "think_end") or 0 <= int(found.mix_until) < 2**31  # type: ignore[arg-type]


def check(parse: Callable[[], RequestSettings], server: ServerSettings) -> None:
    found, _ = refusal(parse)
    if found is not None:
        check_bounds(found, server)


@given(sent=settings, server=servers)
@example({"policy": "multiplex", "draws": 10**400}, ServerSettings())
@example({"policy": "multiplex", "draws": 9}, ServerSettings())
@example({"until": "x" * 100_000}, ServerSettings())
@example({"x" * 100_000: 1}, ServerSettings())
@example({"policy": "x" * 100_000}, ServerSettings())
def test_sglang_takes_settings_or_says_why_not(sent: Any, server: ServerSettings) -> None:
    check(lambda: request_settings({"moi": sent}, server), server)


@given(sent=st.one_of(values, st.dictionaries(words | st.just("moi"), values, max_size=3)))
@example({"moi": {"beta": {"a": "x" * 100_000}}})
def test_sglang_takes_anything_for_custom_params(sent: Any) -> None:
    check(lambda: request_settings(sent, ServerSettings()), ServerSettings())


flat = st.one_of(keys, words).map(lambda key: f"moi_{key}") | st.sampled_from(("moi", "moi_", "moi_marks", "other"))


@given(sent=st.dictionaries(flat, scalars | values, max_size=6), server=servers)
@example({"moi_" + "x" * 100_000: 1}, ServerSettings())
@example({"moi" + "x" * 100_000: 1}, ServerSettings())
@example({7: 1, None: 2, "moi_beta": 1}, ServerSettings())
def test_vllm_takes_settings_or_says_why_not(sent: Any, server: ServerSettings) -> None:
    check(lambda: asked(sent, server), server)


texts = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=12) | st.sampled_from(
    ("1e400", "nan", "inf", "-1", "9" * 400, "9" * 5000, "think_end", "²", "x" * 60, *policy_names())
)
variables = st.dictionaries(
    st.sampled_from([f"MOI_{flag.name.upper()}" for flag in FLAGS] + ["MOI_PARAM_TAU", "MOI_PARAM_", "MOI_ENABLE"]),
    texts,
    max_size=5,
)


@given(environ=variables)
@example({"MOI_UNTIL": "²"})
@example({"MOI_UNTIL": "9" * 5000})
@example({"MOI_TOP_K": "9" * 5000})
@example({"MOI_POLICY": "x" * 10_000})
def test_the_environment_is_read_or_refused(environ: Mapping[str, str]) -> None:
    for parse in (
        lambda: vllm_server({}, {**environ, "MOI_ENABLE": "1"}),
        lambda: sglang_server({"enable_moi": True}, environ),
    ):
        found, _ = refusal(parse)
        assert found is None or 1 <= found.moi.top_k <= 64


@given(sent=settings | values)
def test_the_flag_of_vllm_is_read_or_refused(sent: Any) -> None:
    found, _ = refusal(lambda: vllm_server({"moi": sent}, {}))
    assert found is None or 1 <= found.moi.top_k <= 64


@given(text=texts | settings.map(lambda each: json.dumps(each)[:4000]))
@example("[" * 100_000)
@example('{"beta": ' + "9" * 5000 + "}")
def test_the_default_of_tensorrt_llm_is_read_or_refused(text: str) -> None:
    for environ in ({"MOI_TENSORRT_LLM_DEFAULT": text}, {"MOI_TENSORRT_LLM_REPLAY_TOKENS": text}):
        found, _ = refusal(lambda environ=environ: tensorrt_llm_server(environ))
        assert found is None or 1 <= found.moi.top_k <= 64


# Such that hypothesis cannot print them: more digits than the interpreter turns into text, and JSON's deepest nesting.
@pytest.mark.parametrize("value", [10**5000, -(10**5000), deep(900), deep(900, 10**5000)], ids=range(4))
@pytest.mark.parametrize("key", ["policy", "beta", "until", "per_token", "seed", "top_k", "other"])
def test_a_value_that_cannot_be_written(key: str, value: Any) -> None:
    for parse in (
        lambda: request_settings({"moi": {key: value}}, ServerSettings()),
        lambda: request_settings({"moi": value}, ServerSettings()),
        lambda: request_settings(value, ServerSettings()),
        lambda: asked({f"moi_{key}": value}, ServerSettings()),
        lambda: MoIConfig.from_dict({key: value}),
        lambda: vllm_server({"moi": {key: value}}, {}),
    ):
        found, reason = refusal(parse)
        assert found is None
        assert reason is not None


@pytest.mark.timeout(60)  # some hundredths; work that is quadratic in what was sent would take hours
@pytest.mark.parametrize(
    "sent", [{f"k{n}": n for n in range(200_000)}, {"beta": "9" * 10_000_000}], ids=["keys", "text"]
)
def test_the_work_of_a_refusal_is_that_of_reading_it(sent: dict[str, Any]) -> None:
    _, reason = refusal(lambda: request_settings({"moi": sent}, ServerSettings()))
    assert reason is not None
