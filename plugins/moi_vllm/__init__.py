"""Mixture of Inputs inside vLLM, as a general plugin. Start the server with --additional-config '{"moi": {}}'.

Entry point group `vllm.general_plugins`. Importing this package does nothing; vLLM calls `load` in each process.
"""

from moi_vllm.contract import check_contract

__all__ = ["check_contract", "load"]


def load() -> None:
    """Hook the places where vLLM's processes learn whether MoI is on. RuntimeError if one is missing."""
    from moi_vllm import hooks

    hooks.load()
