"""A playground for tests: started as a user does, with a package that brings an engine whose runs a test can hold."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from installed_package import install_metadata

HELD_SEED, EVIL_SEED, EVIL = 99, 98, "<script>document.title = 'broken into'</script>${1+1}{{7*7}}"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_ENGINE = f"""
import os
import time
from dataclasses import replace
from pathlib import Path

from moi_engines.registry import EngineSpec
from moi_engines.torch_engine import TorchEngine


class Held(TorchEngine):
    def decode_batch(self, rows):
        for count, event in enumerate(super().decode_batch(rows)):
            yield replace(event, text={EVIL!r}) if rows[0].sampling.seed == {EVIL_SEED} else event
            while count == 8 and rows[0].sampling.seed == {HELD_SEED} and not Path(os.environ["MOI_TEST_GO"]).exists():
                time.sleep(0.01)


SPEC = EngineSpec("held", Held)
"""


@dataclass
class Served:
    """A running playground; `go` is the file that lets go of a held run."""

    url: str
    process: subprocess.Popen[str]
    go: Path


def install_held_engine(folder: Path) -> Path:
    """A folder for PYTHONPATH with the engine "held"."""
    (folder / "held_engine.py").write_text(_ENGINE)
    return install_metadata(folder, "held", "[moi.engines]\nheld = held_engine:SPEC\n")


@contextlib.contextmanager
def served(folder: Path, *flags: str, packages: tuple[Path, ...] = ()) -> Iterator[Served]:
    """`moi playground` on a free port, from its line with the address to Ctrl-C, which it must end of."""
    paths = [*map(str, packages), *filter(None, [os.environ.get("PYTHONPATH")])]
    go = folder / "go"
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "MOI_TEST_GO": str(go), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "moi", "playground", "--port", "0", *flags]
    errors = folder / "stderr.txt"
    with errors.open("w") as written:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=written, text=True, env=environ)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.fullmatch(r"moi playground: (http://127\.0\.0\.1:\d+/) \(Ctrl-C ends it\)\n", line)
        assert found is not None, (line, errors.read_text())
        yield Served(found[1], process, go)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 0
        assert errors.read_text() == ""
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
