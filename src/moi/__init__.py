"""Mixture of Inputs (arXiv 2505.14827): keep the distribution a token was sampled from in the next input."""

from moi.config import PRESETS, MoIConfig
from moi.functional import embed, mix, uniforms
from moi.mixture import Mixture
from moi.policies import Parameter, Policy, load_policies, policy_code, policy_codes, policy_names
from moi.rows import RowParams

__version__ = "0.2.0"

__all__ = [
    "PRESETS",
    "Mixture",
    "MoIConfig",
    "Parameter",
    "Policy",
    "RowParams",
    "__version__",
    "embed",
    "load_policies",
    "mix",
    "policy_code",
    "policy_codes",
    "policy_names",
    "uniforms",
]
