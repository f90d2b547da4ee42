"""Inputs of the page that are made of what policies declare: a new policy needs no line here."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from moi import load_policies
from moi.policies import BOUNDS, Parameter

_STEPS = 1000  # of a slider


@dataclass
class PolicyControls:
    """Components by policy and parameter, and the group of each policy, of which one is visible."""

    groups: dict[str, Any] = field(default_factory=dict)
    own: dict[tuple[str, str], Any] = field(default_factory=dict)
    shared: dict[str, Any] = field(default_factory=dict)

    def components(self) -> list[Any]:
        """In the order in which `settings` takes their values."""
        return [*self.own.values(), *self.shared.values()]

    def settings(self, policy: str, values: tuple[Any, ...]) -> dict[str, Any]:
        """The parameters of a policy from the values of all components."""
        mine = {name: value for (owner, name), value in zip(self.own, values, strict=False) if owner == policy}
        return {**mine, **dict(zip(self.shared, values[len(self.own) :], strict=True))}


def mixing_policies() -> list[str]:
    """All but plain decoding, which has a column of its own."""
    return [policy.name for policy in load_policies() if policy.name != "token"]


def build(chosen: str) -> PolicyControls:
    """Make them where a Gradio layout is open; the parameters of `chosen` are visible."""
    import gradio as gr

    made = PolicyControls()
    for policy in load_policies():
        if policy.name == "token":
            continue
        with gr.Column(visible=policy.name == chosen, elem_id=f"policy-{policy.name}") as group:
            made.groups[policy.name] = group
            for each in policy.parameters:
                made.own[policy.name, each.name] = control(each, f"{policy.name}-{each.name}")
    for each in BOUNDS:
        made.shared[each.name] = control(each, f"every-{each.name}")
    return made


def control(declared: Parameter, elem_id: str) -> Any:
    """A slider between two bounds, else a number."""
    import gradio as gr

    about: Mapping[str, Any] = {
        "label": declared.name,
        "info": f"{declared.help}: {declared.allowed}" if declared.help else declared.allowed,
        "elem_id": elem_id,
        "value": int(declared.default) if declared.integer else declared.default,
    }
    low, high = (None if math.isinf(bound) else bound for bound in (declared.low, declared.high))
    if low is None or high is None:
        kind = {"precision": 0} if declared.integer else {"step": 0.1}
        return gr.Number(minimum=low, maximum=high, **kind, **about)
    step = 1 if declared.integer else (high - low) / _STEPS
    return gr.Slider(minimum=low, maximum=high, step=step, **about)
