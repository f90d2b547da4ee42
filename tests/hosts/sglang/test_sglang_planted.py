"""The check of what a server generates can fail: a mistake planted in the real one is ten tolerances off.

It comes as a plugin of SGLang's own, so nothing that is shipped knows of it. `test_sglang_mutations.py` plants more.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from moi_engines.parity import FLOAT32

NEIGHBOURS = """
from moi_serving.slots.base import Slots
from moi_serving.slots.cpu import CPUSlots
from moi_serving.row_layout import ids_of, weights_of


def load():
    for variant in (Slots, CPUSlots):
        variant.store = mistaken(variant.store)


def mistaken(store):
    def store_neighbours(self, slots, *args):
        rows = store(self, slots, *args)
        now = rows.clone()
        ids_of(now)[:, 1:] = ids_of(rows)[:, 1:].roll(1, 0)
        weights_of(now)[:] = weights_of(rows).roll(1, 0)
        self.tables.mixtures[slots] = now
        return rows

    return store_neighbours
"""


def test_mixtures_of_neighbouring_rows_are_ten_tolerances_off(
    ask: Any, agree: Any, make_server: Any, sglang_env: Any, qwen2: Path, tmp_path: Path
) -> None:
    (tmp_path / "planted_mistake.py").write_text(NEIGHBOURS)
    info = tmp_path / "planted_mistake-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: planted-mistake\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[sglang.srt.plugins]\nplanted = planted_mistake:load\n")
    path = os.pathsep.join([sglang_env()["PYTHONPATH"], str(tmp_path)])
    texts, settings = ask.prompts("planted"), [{"beta": beta, "per_token": True} for beta in (0.25, 0.5, 1.0, 2.0)] * 2
    with make_server(qwen2, "--enable-moi", PYTHONPATH=path) as server:
        outputs = server.generate(texts, [ask.greedy(each) for each in settings])
    found = agree.judge(qwen2, texts, [ask.config(each) for each in settings], outputs)
    assert found.margin >= 10 * FLOAT32.margin, str(found)
    assert any(each.what == "token" for each in found.departures)
