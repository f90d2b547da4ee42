"""Pretrained models on the real SGLang, as people reach it: `moi serve`, /generate and the `openai` client."""

import importlib.util
from pathlib import Path

import pytest

from moi_bench.server import Server, post

pytestmark = [
    pytest.mark.timeout(1800),
    pytest.mark.skipif(importlib.util.find_spec("sglang") is None, reason="needs SGLang"),
]
STUBS = Path(__file__).parent.parent / "stubs_sglang"
FLAGS = ["--random-seed", "0", "--sleep-on-idle", "--max-running-requests", "16", "--context-length", "512"]


@pytest.fixture(scope="module")
def server(real, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("TRITON_INTERPRET", raising=False)
        patch.setenv("PYTHONPATH", str(STUBS))
        patch.setenv("TORCH_COMPILE_DISABLE", "1")
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("PYTHONWARNINGS", "ignore")
        with Server("sglang", real.folder, FLAGS, tmp_path_factory.mktemp("sglang") / "log") as started:
            yield started


def test_the_server_decodes_as_the_reference(real, server, output):
    """Plain and mixed rows in one batch of the scheduler's."""
    cases = real.some(real.greedy)
    params = [
        {
            "temperature": 0,
            "max_new_tokens": sampling.max_new_tokens,
            "ignore_eos": True,
            "custom_params": {"moi": {"policy": moi.policy, **dict(moi.parameters), "per_token": True}},
        }
        for sampling, moi in zip(cases.sampling, cases.moi, strict=True)
    ]
    body = {"input_ids": cases.prompts, "sampling_params": params}
    answers = post(f"{server.url}/generate", body, timeout=1200)  # a slow machine takes minutes
    told = [answer["meta_info"]["moi"] for answer in answers]
    outputs = [
        output(answer["output_ids"], None, moi["entropy"], moi["intervention"])
        for answer, moi in zip(answers, told, strict=True)
    ]
    real.check(real.greedy, outputs)
    for config, moi in zip(cases.moi, told, strict=True):
        if config.policy == "token":
            assert moi["mixed_tokens"] == 0
            continue
        assert moi["mixed_tokens"] > 0
        assert 0 < moi["mean_intervention"] < 1
        assert len(set(moi["entropy"])) > 32


def test_the_openai_client_streams_what_it_gets_at_once(real, server):
    openai = pytest.importorskip("openai")
    text = "Grüße! 用中文说你好,and say it in English 🌍"
    settings = {
        "model": str(real.folder),
        "max_tokens": 64,
        "temperature": 0,
        "extra_body": {"custom_params": {"moi": {"beta": 1.0}}, "ignore_eos": True},
    }
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
        if real.engine.tokenizer.chat_template is None:
            whole = client.completions.create(prompt=text, **settings).choices[0].text
            chunks = client.completions.create(prompt=text, stream=True, **settings)
            parts = [chunk.choices[0].text for chunk in chunks if chunk.choices]
        else:
            messages = [{"role": "user", "content": text}]
            whole = client.chat.completions.create(messages=messages, **settings).choices[0].message.content
            chunks = client.chat.completions.create(messages=messages, stream=True, **settings)
            parts = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert len(parts) > 8
    assert "".join(parts) == whole
