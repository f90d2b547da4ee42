"""What a forge reads of the repository: workflows, forms and hooks name only what exists, and hold no more rights than
they need."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import moi
from moi_serving.settings import PER_REQUEST

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli", reason="Python 3.10 has no tomllib")

ROOT = Path(__file__).parents[3]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PYTHONS = {each.rsplit(" ", 1)[1] for each in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", each)}
TARGETS = set(re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


def read(file: Path) -> Any:
    return yaml.safe_load(file.read_text(encoding="utf-8"))


def jobs() -> Iterator[tuple[str, dict[str, Any]]]:
    for file in WORKFLOWS:
        for name, job in read(file)["jobs"].items():
            yield f"{file.stem}.{name}", job


def steps(key: str) -> list[str]:
    return [str(step[key]) for _, job in jobs() for step in job["steps"] if key in step]


def test_every_action_is_pinned_to_a_commit_whose_version_stands_beside_it() -> None:
    text = "".join(file.read_text(encoding="utf-8") for file in WORKFLOWS)
    named = re.findall(r"uses: (.*)", text)
    assert len(named) == len(steps("uses")) > 5
    for each in named:
        assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40}  # v\d+\.\d+\.\d+", each), each
    versions = {tuple(each.split("  # ")) for each in named}
    assert len({use.split("@")[0] for use, _ in versions}) == len(versions)  # one version of each


def test_workflows_may_read_and_one_job_alone_may_publish() -> None:
    assert [read(file)["permissions"] for file in WORKFLOWS] == [{"contents": "read"}] * len(WORKFLOWS)
    more = {name: job["permissions"] for name, job in jobs() if "permissions" in job}
    assert more == {"release.publish": {"id-token": "write"}}
    publish = dict(jobs())["release.publish"]
    assert publish["environment"]["name"] == "pypi"
    assert publish["needs"] == "build"
    assert "secrets." not in "".join(file.read_text(encoding="utf-8") for file in WORKFLOWS)
    assert all("timeout-minutes" in job for _, job in jobs())


def test_no_command_is_made_of_what_others_wrote() -> None:
    """Names of branches and titles would be run as shell code."""
    assert not [command for command in steps("run") if "${{" in command]


def test_commands_name_targets_extras_and_paths_that_exist() -> None:
    run = "\n".join(steps("run"))
    made = set(re.findall(r"\bmake ([\w-]+)", run))
    assert made
    assert made <= TARGETS
    extras = {name for found in re.findall(r"\[([a-z,-]+)\]", run) for name in found.split(",")}
    assert {"engine", "cpu", "test"} <= extras <= set(PROJECT["optional-dependencies"])
    paths = re.findall(r"(?<![\w./-])(tests/[\w/.-]+|constraints\.txt|\.ci/run|CHANGELOG\.md)", run)
    assert paths
    assert all((ROOT / path).exists() for path in paths), paths


def test_every_python_that_is_promised_is_tested_and_no_other() -> None:
    core = dict(jobs())["tests.core"]["strategy"]["matrix"]
    assert set(core["python"]) == PYTHONS
    assert PROJECT["requires-python"] == f">={min(PYTHONS, key=lambda each: int(each.split('.')[1]))}"
    (torch,) = PROJECT["dependencies"]
    assert core["torch"][0] == torch.replace(">=", "==") + ".*"  # the oldest that is allowed
    versions = {
        str(step["with"]["python-version"]) for _, job in jobs() for step in job["steps"] if "setup-python" in str(step)
    }
    assert versions - {"${{ matrix.python }}"} <= PYTHONS


def test_a_tag_is_a_release() -> None:
    triggers = read(ROOT / ".github" / "workflows" / "release.yml")[True]  # YAML's reading of `on`
    assert triggers == {"push": {"tags": ["v[0-9]+.[0-9]+.[0-9]+*"]}}


def test_the_changelog_begins_with_this_version_and_its_day() -> None:
    newest = next(line for line in (ROOT / "CHANGELOG.md").read_text().splitlines() if line.startswith("## "))
    assert re.fullmatch(rf"## {re.escape(moi.__version__)} \((\d{{4}}-\d\d-\d\d|unreleased)\)", newest)


def test_hooks_run_the_pinned_tools() -> None:
    pinned = {line.split("==")[0] for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()}
    hooks = [hook for repo in read(ROOT / ".pre-commit-config.yaml")["repos"] for hook in repo["hooks"]]
    tools = {hook["entry"].split()[0].removeprefix(".venv/bin/") for hook in hooks}
    assert tools == {"ruff", "mypy"}
    assert tools <= pinned
    assert all(hook["language"] == "system" for hook in hooks)


def test_a_bug_report_asks_for_what_doctor_says() -> None:
    fields = {each.get("id"): each for each in read(ROOT / ".github" / "ISSUE_TEMPLATE" / "bug.yml")["body"]}
    assert "moi doctor" in fields["doctor"]["attributes"]["label"]
    assert fields["doctor"]["validations"] == {"required": True}
    for file in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"):
        form = read(file)
        assert file.name == "config.yml" or {"name", "description", "body"} <= set(form)


def test_the_citation_is_of_the_paper_and_has_the_license_of_the_project() -> None:
    citation = read(ROOT / "CITATION.cff")
    assert {"cff-version", "message", "title", "authors", "license"} <= set(citation)
    assert citation["license"] == PROJECT["license"]
    assert citation["title"] == PROJECT["name"]
    assert "2505.14827" in citation["preferred-citation"]["url"]


def test_the_threat_model_names_every_key_of_a_request_and_what_is_there() -> None:
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    assert all(f"`{key}`" in text for key in (*PER_REQUEST, "policy", "top_k", "entropy", "prior", "preset"))
    assert set(re.findall(r"`make ([\w-]+)`", text)) <= TARGETS
    assert (ROOT / "tests" / "unit" / "security").is_dir()
