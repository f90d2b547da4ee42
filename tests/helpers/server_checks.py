"""What a real server of any host must give to the playground and to evaluations."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from moi import MoIConfig
from moi.cli import main
from moi_engines import SamplingParams
from moi_eval.journal import load
from moi_playground.records import MIXED, PLAIN, Ask
from moi_playground.remote import RemoteSource, connect

TOKENS = 12


def check_columns(url: str, chat: bool, ids: bool) -> None:
    """Both columns of the playground, with the numbers of each token; `ids`: with those of tokens, too."""
    source = connect(url, None, None)
    # A drawn model may say special tokens alone, or bytes that form no character: hot, it soon says more.
    said = any(_both_have_text(source, chat, ids, seed) for seed in range(10))
    source.close()
    assert said


def _both_have_text(source: RemoteSource, chat: bool, ids: bool, seed: int) -> bool:
    """Of one run of the playground, whose numbers are checked."""
    sampling = SamplingParams(temperature=2.0, seed=seed, max_new_tokens=TOKENS, ignore_eos=True)
    events = list(source.stream(Ask("count to ten", chat, sampling, MoIConfig(beta=0.5))))
    columns = [[event for event in events if event.column == column] for column in (PLAIN, MIXED)]
    for column, own in zip((PLAIN, MIXED), columns, strict=True):
        assert [event.finish for event in own] == [None] * (TOKENS - 1) + ["length"]
        assert all(event.token.entropy is not None and 0 < event.token.entropy <= 1 for event in own)
        assert {event.token.mixed for event in own} == {column == MIXED}
        assert {event.token.token_id is not None for event in own} == {ids}
    return all(any(event.token.text for event in own) for own in columns)


def check_evaluation(argv: list[str], out: Path, kind: str, samples: int) -> None:
    """An evaluation of the arms token, moi and gumbel, `samples` each, is mixed where it should be, and goes on."""
    assert main(argv) == 0
    found = load(out)
    assert found.header is not None
    assert found.header["settings"]["engine"] == f"{kind} server"
    assert Counter(key.arm.split()[0] for key in found.samples) == dict.fromkeys(("token", "moi", "gumbel"), samples)
    for key, record in found.samples.items():
        plain = key.arm.startswith("token")
        assert (record["entropy"] is None, record["intervention"] is None) == (plain, plain)
        assert plain or 0 < record["entropy"] <= 1
    before = out.read_bytes()
    assert main(argv) == 0
    assert out.read_bytes() == before


def check_plain_alone(url: str, out: Path, prompt: str) -> None:
    """An evaluation of plain decoding alone: the server shows that it is plain before a problem is scored."""
    argv = ["eval", "countdown", "--n", "2", "--policy", "token", "--max-new-tokens", "6", "--prompt", prompt]
    assert main([*argv, "--server", url, "--out", str(out)]) == 0
    assert [record["entropy"] for record in load(out).samples.values()] == [None, None]


def mixed_tokens(server: Any) -> float:
    """What a server, or all its ranks, say that they mixed."""
    _, text = server.request("GET", "/metrics")
    return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith("moi_mixed_tokens_total"))
