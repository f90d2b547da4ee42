"""What other packages bring into one real server: a policy, and, once it is switched on, a mistake.

The mistake shows that the check of what a server generates can fail: ten tolerances off. It comes as a plugin of
SGLang's own, so nothing that is shipped knows of it. `test_sglang_mutations.py` plants more.
"""

from __future__ import annotations

import json
import os
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from installed_package import install_package
from moi import MoIConfig
from moi.policies import registry
from moi_engines.parity import FLOAT32

SETTINGS: list[dict[str, Any]] = [
    {"policy": "outside", "share": 0.75, "tail": 1.0},
    {},
    {"policy": "outside", "tail": 0.0},
    {"policy": "moi"},
    {"policy": "token"},
    {"tail": 0.5},
]

NEIGHBOURS = """
import os

from moi_serving.slots.base import Slots
from moi_serving.slots.cpu import CPUSlots
from moi_serving.row_layout import ids_of, weights_of


def load():
    for variant in (Slots, CPUSlots):
        variant.store = mistaken(variant.store)


def mistaken(store):
    def store_neighbours(self, slots, *args):
        rows = store(self, slots, *args)
        if os.path.exists(os.environ["PLANTED"]):
            now = rows.clone()
            ids_of(now)[:, 1:] = ids_of(rows)[:, 1:].roll(1, 0)
            weights_of(now)[:] = weights_of(rows).roll(1, 0)
            self.tables.mixtures[slots] = now
        return rows

    return store_neighbours
"""


@pytest.fixture
def installed(outside_package: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The policy in this process too, whose reference judges the server."""
    with monkeypatch.context() as patch:
        patch.syspath_prepend(str(outside_package))
        patch.setattr(registry, "_found", ())
        yield


@pytest.fixture(scope="module")
def switch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where this file is, mixtures are those of neighbouring rows."""
    return tmp_path_factory.mktemp("planted") / "on"


@pytest.fixture(scope="module")
def server(make_server: Any, qwen2: Path, outside_package: Path, sglang_env: Any, switch: Path) -> Iterator[Any]:
    mistake = install_package(switch.parent, "planted", "planted_mistake:load", NEIGHBOURS, "sglang.srt.plugins")
    path = os.pathsep.join([sglang_env()["PYTHONPATH"], str(outside_package), str(mistake)])
    flags = ("--enable-moi", "--moi-policy", "outside", "--moi-param", "share=0.25")
    with make_server(qwen2, *flags, PYTHONPATH=path, PLANTED=str(switch)) as started:
        yield started


@pytest.mark.usefixtures("installed")
def test_requests_for_an_installed_policy_agree(ask: Any, agree: Any, server: Any, qwen2: Path) -> None:
    prompts = ask.prompts("installed policy", count=len(SETTINGS))
    params = [ask.greedy({**each, "per_token": True}, max_new_tokens=24) for each in SETTINGS]
    outputs = server.generate(prompts, params)
    status, text = server.request("POST", "/generate", {"input_ids": [5], "sampling_params": ask.greedy({"share": 2})})
    server_default = MoIConfig("outside", share=0.25)
    configs = [server_default.replace(each) for each in SETTINGS]
    agree(qwen2, prompts, configs, outputs, max_new_tokens=24)
    told = outputs[0]["meta_info"]["moi"]
    assert told["mean_intervention"] == pytest.approx(statistics.fmean(told["intervention"]), abs=1e-5)
    assert told["mean_intervention"] > 0.01
    assert status == 400
    assert "share=2 is not allowed; share must be a number in [0, 1]" in json.loads(text)["error"]["message"]


def test_mixtures_of_neighbouring_rows_are_ten_tolerances_off(
    ask: Any, agree: Any, server: Any, qwen2: Path, switch: Path
) -> None:
    betas = (0.25, 0.5, 1.0, 2.0) * 2
    texts, settings = ask.prompts("planted"), [{"policy": "moi", "beta": beta, "per_token": True} for beta in betas]
    switch.touch()
    try:
        outputs = server.generate(texts, [ask.greedy(each) for each in settings])
    finally:
        switch.unlink()
    found = agree.judge(qwen2, texts, [ask.config(each) for each in settings], outputs)
    assert found.margin >= 10 * FLOAT32.margin, str(found)
    assert any(each.what == "token" for each in found.departures)
