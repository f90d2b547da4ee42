"""The torch.library ops: correct registrations, one node under torch.compile and torch.export."""

import importlib.util
import logging

import pytest
import torch

import moi
from moi import mixture
from moi.ops import resolve

CONFIG = moi.MoIConfig(top_k=4)


def mix_arguments():
    rows = moi.RowParams.of([moi.MoIConfig()] * 3, [1.0] * 3)
    return (torch.randn(3, 10), torch.tensor([0, 1, 2]), *rows)


class Step(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.table = torch.nn.Buffer(torch.randn(10, 6))

    def forward(self, logits, token, beta):
        return moi.embed(moi.mix(logits, token, CONFIG, beta=beta), self.table)


@pytest.mark.parametrize(("entropy", "prior"), [("support", "raw"), ("vocab", "sampling")])
def test_opcheck_of_mix(entropy, prior):
    torch.library.opcheck(torch.ops.moi.mix, (*mix_arguments(), 4, entropy, prior, "reference"))


def test_opcheck_of_embed():
    mixture = moi.mix(torch.randn(3, 10), torch.tensor([0, 1, 2]), CONFIG)
    arguments = (mixture.ids, mixture.weights, torch.randn(10, 6), 0, 10, "reference")
    torch.library.opcheck(torch.ops.moi.embed, arguments)
    torch.library.opcheck(torch.ops.moi.embed_out, (*arguments, torch.empty(3, 6)))


def test_compile_in_one_graph():
    step, arguments = Step(), (torch.randn(3, 10), torch.tensor([0, 1, 2]), torch.ones(3))
    compiled = torch.compile(step, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(*arguments), step(*arguments))


@pytest.mark.parametrize("draws", [False, True])
def test_the_reference_itself_is_compiled_as_one_graph(draws):
    """As the benchmark's torch.compile row has it."""
    rows = moi.RowParams.of([moi.MoIConfig(policy) for policy in moi.policy_names()], [1.0] * len(moi.policy_names()))
    logits, token = torch.randn(len(rows.policy), 30), torch.arange(len(rows.policy))
    rows = rows._replace(uniforms=moi.uniforms(token, token, 4) if draws else None)
    compiled = torch.compile(mixture.mix, fullgraph=True, backend="eager")
    found, expected = (mix(logits, token, rows, 4, "support", "raw") for mix in (compiled, mixture.mix))
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_export_keeps_one_node_an_op():
    step, arguments = Step(), (torch.randn(3, 10), torch.tensor([0, 1, 2]), torch.ones(3))
    rows = torch.export.Dim("rows", min=1, max=64)
    program = torch.export.export(step, arguments, dynamic_shapes=[{0: rows}] * 3)
    targets = [str(node.target) for node in program.graph.nodes if node.op == "call_function"]
    assert [target for target in targets if target.startswith("moi.")] == ["moi.mix.default", "moi.embed.default"]
    more = (torch.randn(5, 10), torch.arange(5), torch.ones(5))
    torch.testing.assert_close(program.module()(*more), step(*more))


def test_asking_for_what_cannot_run_here_says_why_and_what_to_install():
    with pytest.raises(RuntimeError, match=r"implementation='flashinfer' cannot run on cpu: .*"):
        moi.mix(torch.randn(1, 30), torch.tensor([0]), implementation="flashinfer")


def test_auto_takes_numba_on_the_cpu_and_says_so(caplog):
    resolve.cache_clear()
    with caplog.at_level(logging.INFO, "moi"):
        assert resolve("auto", torch.device("cpu")) is resolve("numba", torch.device("cpu"))
        resolve("auto", torch.device("cpu"))
    assert [record.getMessage() for record in caplog.records] == ["implementation=auto on cpu: numba"]


def test_auto_takes_the_reference_without_numba_and_says_why(caplog, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    resolve.cache_clear()
    with caplog.at_level(logging.INFO, "moi"):
        assert resolve("auto", torch.device("cpu")) is resolve("reference", torch.device("cpu"))
    resolve.cache_clear()
    (record,) = caplog.records
    assert "reference (numba: Numba is not installed; pip install mixture-of-inputs[cpu])" in record.getMessage()
