"""Mixture of Inputs inside SGLang, through SGLang's own plugin framework. Start the server with --enable-moi.

Entry point group `sglang.srt.plugins`. Importing this package does nothing; SGLang calls `load`.
"""

from moi_sglang.contract import check_contract

__all__ = ["check_contract", "load"]


def load() -> None:
    """Register the hooks that make the flags known. SystemExit if MoI is asked for and they cannot be."""
    import os
    import sys

    from moi_sglang import flags, hooks
    from moi_sglang.compatibility import refuse
    from moi_sglang.host.server import wrap_engine_arguments

    table = hooks.load_hooks()
    problems = hooks.problems(table)
    if problems and flags.enabled_by(sys.argv, os.environ):
        refuse("; ".join(problems))
    hooks.register(table)
    wrap_engine_arguments(flags.engine_server_args)
