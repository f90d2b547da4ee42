"""Mixture of Inputs inside SGLang, through SGLang's own plugin framework. Start the server with --enable-moi.

Entry point group `sglang.srt.plugins`. Importing this package does nothing; SGLang calls `load`.
"""

from moi_sglang.contract import check_contract

__all__ = ["check_contract", "load"]


def load() -> None:
    """Register the hooks that make the flags known. SystemExit if MoI is asked for and they cannot be."""
    import os
    import sys

    from moi_serving.environment import switched_on
    from moi_sglang import flags, hooks
    from moi_sglang.compatibility import refuse
    from moi_sglang.host import server

    problems = hooks.problems(hooks.LOAD)
    if problems and ("--enable-moi" in sys.argv or switched_on("MOI_ENABLE", os.environ)):
        refuse("; ".join(problems))
    server.register(hooks.LOAD)
    server.wrap_engine_arguments(flags.engine_server_args)
