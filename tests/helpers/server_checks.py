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
from moi_playground.remote import connect

TOKENS = 12


def check_columns(url: str, chat: bool, ids: bool) -> None:
    """Both columns of the playground, with the numbers of each token; `ids`: with those of tokens, too."""
    source = connect(url, None, None)
    # Sampled: the likeliest tokens of a drawn model may all be special ones, which are no text.
    sampling = SamplingParams(temperature=1.0, seed=1, max_new_tokens=TOKENS, ignore_eos=True)
    events = list(source.stream(Ask("count to ten", chat, sampling, MoIConfig(beta=0.5))))
    source.close()
    for column in (PLAIN, MIXED):
        own = [event for event in events if event.column == column]
        assert [event.finish for event in own] == [None] * (TOKENS - 1) + ["length"]
        assert all(event.token.entropy is not None and 0 < event.token.entropy <= 1 for event in own)
        assert {event.token.mixed for event in own} == {column == MIXED}
        assert {event.token.token_id is not None for event in own} == {ids}
        assert any(event.token.text for event in own)


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
