"""Bodies that no client should send: each is answered with a 200 or a 4xx, and the server goes on.

Where SGLang itself answers a body with a 500, without the plugin, the plugin may do no worse; that is all it may do.
"""

from __future__ import annotations

import http.client
import json
import random
from typing import Any

import pytest

PATHS = ("/generate", "/v1/completions", "/v1/chat/completions")
DEEP = "[" * 300 + "]" * 300
WRONG = ["[1]", '"x"', "5", "true", "[]", '""', "0", "false"]
WRONG_SETTINGS = [
    *("null", "[]", "true", '"moi"', "0"),
    *('{"beta": "x"}', '{"beta": true}', '{"beta": null}', '{"beta": [1]}', f'{{"beta": {DEEP}}}', '{"beta": -0.5}'),
    *('{"policy": null}', '{"policy": ["moi"]}', '{"policy": 1}', '{"policy": "MOI"}', '{"policy": {}}'),
    *('{"until": true}', '{"until": 1.5}', '{"until": -1}', '{"until": 1e30}', '{"until": "x"}', '{"until": [1]}'),
    *('{"per_token": 1}', '{"per_token": null}', '{"betas": 1}', '{"": 1}', '{"top_k": 5}'),
]


def post(server: Any, path: str, body: str | bytes, kind: str = "application/json") -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)
    try:
        connection.request("POST", path, body, {"Content-Type": kind})
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def body_of(path: str, custom: str) -> str:
    if path == "/generate":
        return f'{{"input_ids": [5, 6], "sampling_params": {{"max_new_tokens": 2, "custom_params": {custom}}}}}'
    prompt = '"prompt": "x"' if "chat" not in path else '"messages": [{"role": "user", "content": "x"}]'
    return f'{{"model": "tiny", "max_tokens": 2, {prompt}, "custom_params": {custom}}}'


@pytest.mark.parametrize("path", PATHS)
def test_custom_params_of_another_type_are_a_400_that_names_them(path: str, moi_server: Any) -> None:
    for custom in WRONG:
        status, text = post(moi_server, path, body_of(path, custom))
        assert (status, "custom_params" in text) == (400, True), (custom, status, text)
    assert post(moi_server, path, body_of(path, "null"))[0] == 200


@pytest.mark.parametrize("path", PATHS)
def test_settings_of_another_type_are_a_400_that_names_them(path: str, moi_server: Any) -> None:
    for settings in WRONG_SETTINGS:
        status, text = post(moi_server, path, body_of(path, f'{{"moi": {settings}}}'))
        parsed = json.loads(settings)
        name = next(iter(parsed)) if isinstance(parsed, dict) else "custom_params['moi']"
        assert (status, name in text) == (400, True), (settings, status, text)
    for number in ("NaN", "Infinity", "1e999", "9" * 400):
        assert post(moi_server, path, body_of(path, f'{{"moi": {{"beta": {number}}}}}'))[0] == 400, number
    assert post(moi_server, path, body_of(path, '{"moi": {"beta": 1e300}}'))[0] == 200


def test_one_bad_request_of_a_batch_or_of_several_samples_is_a_400(moi_server: Any) -> None:
    good = {"max_new_tokens": 4}
    for bad in ([1], "x", {"moi": [1]}, {"moi": {"beta": "x"}}):
        for place in range(3):
            params: list[Any] = [good] * 3
            params[place] = {**good, "custom_params": bad}
            status, text = moi_server.request(
                "POST", "/generate", {"input_ids": [[5, 6], [7], [8]], "sampling_params": params}
            )
            assert status == 400, text
        several = {"input_ids": [5, 6], "sampling_params": {**good, "n": 3, "custom_params": bad}}
        assert moi_server.request("POST", "/generate", several)[0] == 400
    moi_server.flush()  # refused unless every slot and every token of KV is free again


def test_bodies_at_random_are_answered_and_the_server_goes_on(ask: Any, moi_server: Any, plain_server: Any) -> None:
    rng = ask.random("bodies")
    for _ in range(400):
        path = rng.choice(PATHS)
        body, kind = random_body(rng, path)
        status, text = post(moi_server, path, body, kind)
        if status >= 500:
            stock, _ = post(plain_server, path, body, kind)
            assert stock >= 500, (path, body, kind, text)
        assert status != 200 or text, (path, body)
    for server in (moi_server, plain_server):
        assert server.healthy()
        assert len(server.generate([5, 6, 7], ask.greedy(None, max_new_tokens=4))["output_ids"]) == 4
    moi_server.flush()


def random_body(rng: random.Random, path: str) -> tuple[str | bytes, str]:
    """Often a good body with odd settings, now and then no JSON at all, and its content type."""
    settings = f'{{"moi": {random_settings(rng)}}}' if rng.random() < 0.7 else random_json(rng)
    body = body_of(path, settings)
    if rng.random() < 0.3:  # another field of the request, or of its sampling, is odd
        field = rng.choice(
            ["temperature", "top_p", "n", "stop", "input_ids", "sampling_params", "prompt", "logit_bias"]
        )
        body = f'{body[:-1]}, "{field}": {random_json(rng)}}}'
    if rng.random() < 0.1:
        place = rng.randrange(len(body))
        return body[:place].encode() + rng.choice([b"", b"\xff\xfe", b"\x00", b'"\\ud800"', b"}"]), "application/json"
    return body, rng.choice(["application/json"] * 9 + ["text/plain"])


def random_settings(rng: random.Random) -> str:
    keys = rng.sample(["policy", "beta", "until", "per_token", "top_k", "x", ""], rng.randrange(4))
    likely = ['"moi"', '"token"', "1", "0.5", "true", '"think_end"', "7", "null"]
    values = [rng.choice(likely) if rng.random() < 0.6 else random_json(rng) for _ in keys]
    return "{" + ", ".join(f'"{key}": {value}' for key, value in zip(keys, values, strict=True)) + "}"


def random_json(rng: random.Random, depth: int = 0) -> str:
    atoms = ["null", "true", "-1", "0", "2.5", "1e30", "1e999", "NaN", "9" * 30, '""', '"x"', '"\\ud83d\\ude00"', DEEP]
    if depth > 3 or rng.random() < 0.6:
        return rng.choice(atoms)
    inside = [random_json(rng, depth + 1) for _ in range(rng.randrange(3))]
    if rng.random() < 0.5:
        return f"[{', '.join(inside)}]"
    return "{" + ", ".join(f'"k{index}": {value}' for index, value in enumerate(inside)) + "}"
