"""Generated programs for LiveCodeBench's own evaluator, which runs them in its sandbox; nothing is run here."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from moi import json_text
from moi.files import check_file, write_file
from moi_eval.journal import Key
from moi_eval.tasks.files import LiveCodeBenchTask, extract_code

_WHAT = "generations that moi eval wrote"


def check_generations(out: Path, labels: list[str]) -> None:
    """FileExistsError if a file that `write_generations` would write is something else."""
    for label in labels:
        check_file(_path(out, label), _is_generations, _WHAT)


def _path(out: Path, label: str) -> Path:
    slug = re.sub(r"[^a-z0-9.]+", "-", label.lower())
    return out.with_name(f"{out.stem}.{slug}.lcb.json")


def _is_generations(path: Path) -> bool:
    return all(set(entry) == {"question_id", "code_list"} for entry in json.loads(path.read_bytes()))


def write_generations(out: Path, settings: dict[str, Any], samples: dict[Key, dict[str, Any]]) -> list[Path]:
    """One file beside `out` for each arm that is complete: [{"question_id", "code_list"}]; the paths written."""
    if settings["task"]["name"] != LiveCodeBenchTask.name:
        return []
    paths = []
    for arm in settings["arms"]:
        codes = dict[str, list[str]]()
        for key in sorted(key for key in samples if key.arm == arm["label"]):
            codes.setdefault(key.item, []).append(extract_code(samples[key]["text"]))
        if sum(map(len, codes.values())) == settings["task"]["n"] * settings["samples"]:
            paths.append(_path(out, arm["label"]))
            entries = [{"question_id": name, "code_list": texts} for name, texts in codes.items()]
            write_file(paths[-1], json_text.dumps(entries, indent=1) + "\n", _is_generations, _WHAT)
    return paths
