"""Libraries that come with an extra: missing ones are named before work begins."""

from __future__ import annotations

from importlib.util import find_spec


def require(extra: str, *modules: str) -> None:
    """ImportError that names the extra unless all modules are installed."""
    missing = [name for name in modules if find_spec(name) is None]
    if missing:
        raise ImportError(f"{', '.join(missing)} is not installed; pip install 'mixture-of-inputs[{extra}]'")
