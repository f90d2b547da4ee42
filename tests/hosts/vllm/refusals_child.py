"""Run by test_vllm_refusals.py in vLLM's environment: what becomes of real command lines. Prints one JSON object.

refusals_child.py LINES.json     {name: {"line": arguments, "env": variables}}
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any
from unittest import mock


def outcome(line: list[str]) -> str:
    """What ends the start, or "starts"."""
    from vllm.engine.arg_utils import EngineArgs
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    parser = EngineArgs.add_cli_args(FlexibleArgumentParser())
    try:
        EngineArgs.from_cli_args(parser.parse_args(line)).create_engine_config()
    except SystemExit as error:
        return str(error)
    except Exception as error:  # vLLM refuses it by itself
        return f"vLLM: {type(error).__name__}: {error}"
    return "starts"


def main(cases: dict[str, Any]) -> None:
    from vllm.plugins import load_general_plugins

    from moi_vllm.compatibility_table import CONFLICTS
    from moi_vllm.contract import check_contract

    load_general_plugins()
    found = {}
    for name, case in cases.items():
        with mock.patch.dict(os.environ, case.get("env", {})):
            found[name] = outcome(case["line"])
    table = [{"flag": row.flag, "field": row.field, "reason": row.reason} for row in CONFLICTS]
    sys.stdout.write("\n" + json.dumps({"found": found, "table": table, "contract": check_contract()}) + "\n")


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
