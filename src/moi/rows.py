"""RowParams: what may differ from row to row of a batch, as every implementation takes it.

Dims: B rows, P parameters of the policy that declares most, and the two bounds of entropy behind them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from moi.config import MoIConfig
from moi.policies import BOUNDS, load_policies

# Policies in the order of their codes, each with the names of its parameters in the order of their columns.
Layout = Mapping[str, Sequence[str]]


class RowParams(NamedTuple):
    """Settings of a batch on its device.

    policy       int32 [B], codes as of `moi.policy_code`; 0 is plain decoding
    parameters   float32 [B,P], column i for the i-th parameter that the row's policy declares, the last two for
                 min_entropy and max_entropy; others are not read
    temperature  float32 [B], the sampler's; 0 for greedy
    uniforms     float32 [B,8+K] as of `moi.uniforms`, read by rows whose policy draws; None: such rows decode plainly
    """

    policy: Tensor
    parameters: Tensor
    temperature: Tensor
    uniforms: Tensor | None = None

    @classmethod
    def of(
        cls, configs: Sequence[MoIConfig], temperatures: Iterable[float], device: torch.device | str | None = None
    ) -> RowParams:
        """The rows of as many configs."""
        codes, values = encode(configs, policy_layout())
        return cls(
            torch.tensor(codes, dtype=torch.int32, device=device),
            torch.tensor(values, dtype=torch.float32, device=device).reshape(len(codes), parameter_count()),
            torch.tensor(list(temperatures), dtype=torch.float32, device=device),
        )

    def select(self, rows: Tensor | int) -> RowParams:
        """These rows, by their places or a mask; or one."""
        uniforms = None if self.uniforms is None else self.uniforms[rows]
        return RowParams(self.policy[rows], self.parameters[rows], self.temperature[rows], uniforms)


def policy_layout() -> dict[str, tuple[str, ...]]:
    """Of the policies there are in this process."""
    return {policy.name: policy.names for policy in load_policies()}


def parameter_count(layout: Layout | None = None) -> int:
    """P of a layout, by default of this process's."""
    return max(map(len, (policy_layout() if layout is None else layout).values())) + len(BOUNDS)


def encode(configs: Sequence[MoIConfig], layout: Layout) -> tuple[list[int], list[list[float]]]:
    """Codes [B] and parameters [B,P] of the rows.

    Raises ValueError for a policy that the layout lacks, or has with other parameters.
    """
    width, codes = parameter_count(layout), {name: code for code, name in enumerate(layout)}
    values = [_columns(config, layout, width) for config in configs]
    return [codes[config.policy] for config in configs], values


def _columns(config: MoIConfig, layout: Layout, width: int) -> list[float]:
    own = dict(config.parameters)
    bounds = [own.pop(each.name) for each in BOUNDS]
    if config.policy not in layout:
        raise ValueError(f"policy={config.policy!r} is not allowed; allowed: {', '.join(layout)}")
    names = layout[config.policy]
    if set(names) != set(own):
        raise ValueError(
            f"policy={config.policy!r} is not allowed: it has the parameters {', '.join(own) or 'none'}, "
            f"not {', '.join(names) or 'none'}"
        )
    return [*(own[name] for name in names), *[0.0] * (width - len(names) - len(bounds)), *bounds]
