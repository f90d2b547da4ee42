"""What the tests of the report share."""

from __future__ import annotations

from pathlib import Path

import pytest

from moi_bench.report.testing import write_samples


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A results file of each kind."""
    return write_samples(tmp_path_factory.mktemp("results"))
