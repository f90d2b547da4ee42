"""Which engines there are: this project's, then those that installed packages bring.

    [project.entry-points."moi.engines"]
    mine = "my_package.mine:SPEC"

An engine is one file with an `EngineSpec`; every command and benchmark asks that spec and knows no engine by name.
The file must load without the engine's libraries: it imports them when an engine is made.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from moi.entry_points import installed, load
from moi_engines.protocol import Engine

if TYPE_CHECKING:
    from moi_engines.parity import Cases, Output
    from moi_engines.parity_types import Types
    from moi_engines.protocol import Generation

GROUP = "moi.engines"
BUILT_IN = {
    "torch": "moi_engines.torch_engine:SPEC",
    "onnxruntime": "moi_engines.onnx_engine:SPEC",
    "sglang": "moi_engines.sglang_engine:SPEC",
    "vllm": "moi_engines.vllm_engine:SPEC",
    "tensorrt": "moi_engines.tensorrt_engine:SPEC",
    "tensorrt_rtx": "moi_engines.tensorrt_engine:RTX_SPEC",
    "tensorrt_llm": "moi_engines.tensorrt_llm_backend:SPEC",
}


class Workload(NamedTuple):
    """What an engine is made ready for: rows decoded together, positions of each, and whether mixtures are fed."""

    batch: int
    positions: int
    mixing: bool = True


@dataclass(frozen=True)
class SelfTest:
    """How `moi selftest` runs an engine where its defaults will not do.

    options   of `load`
    types     what it then computes with, instead of `EngineSpec.types`
    greedy    it is asked for greedy rows alone
    isolated  in a process of its own, which its libraries can end
    decode    (model folder, cases) -> the output of each case, of a backend that has no `Engine`
    """

    options: Mapping[str, Any] = field(default_factory=dict)
    types: Types | None = None
    greedy: bool = False
    isolated: bool = False
    decode: Callable[[Path, Cases], Sequence[Output | Generation]] | None = None


@dataclass(frozen=True)
class EngineSpec:
    """All that commands, checks and benchmarks have to know about an engine.

    load            the engine of a folder, with keyword-only options; None: the backend has no `Engine`
    instead         what to use where an `Engine` is needed, if there is none
    modules, extra  top-level modules that it needs, and the extra that brings them
    library         the distribution whose version reports name
    problems        a deeper check of what is installed: what is wrong, in words
    reads           a Hugging Face "model", an "exported" folder of `moi export`, or a "compiled" one of `moi compile`
    prepare         (model folder, scratch folder, workload) -> the folder that it reads
    tuned           (folder, workload) -> options of `load` for a workload that is known beforehand
    batches_itself  it takes any number of rows and forms its own batches
    own_noise       it draws its own random numbers: seeds do not repeat those of other engines
    random_weights  it makes random weights in place for a folder that has none
    in_process      it decodes in this process, beside which transformers' `generate` can be measured
    types           (model folder) -> what it computes with on this machine by default; None: float32
    placed          (--device, --dtype) -> kind of device and type that they mean on this machine; None: not known here
    baseline        what plain decoding is, that MoI is measured against: what `Engine.plain` gives
    plain_folder    plain decoding needs a folder of its own, prepared with mixing=False
    server          (model folder, arguments of `moi serve`) -> the command line of its server; None: it has none
    request         what a completion request to that server says to mix with a beta of 0.5
    """

    name: str
    load: Callable[..., Engine] | None
    instead: str = ""
    modules: tuple[str, ...] = ()
    extra: str = ""
    library: str | None = None
    problems: Callable[[], list[str]] = list
    reads: Literal["model", "exported", "compiled"] = "model"
    prepare: Callable[[Path, Path, Workload], Path] = lambda model, scratch, workload: model
    tuned: Callable[[Path, Workload], dict[str, Any]] = lambda folder, workload: {}
    batches_itself: bool = False
    own_noise: bool = False
    random_weights: bool = False
    in_process: bool = True
    types: Callable[[Path], Types] | None = None
    placed: Callable[[str, str], tuple[str, str]] | None = None
    baseline: str = "the same engine, rows of policy token"
    plain_folder: bool = False
    server: Callable[[Path, Any], list[str]] | None = None
    request: Mapping[str, Any] = field(default_factory=lambda: {"custom_params": {"moi": {"beta": 0.5}}})
    selftest: SelfTest = SelfTest()

    def unavailable(self) -> str | None:
        """Why the engine cannot run and what to do about it, or None."""
        missing = [module for module in self.modules if find_spec(module) is None]
        if missing:
            remedy = f"; pip install 'mixture-of-inputs[{self.extra}]'" if self.extra else ""
            return f"{', '.join(missing)} not installed{remedy}"
        return "; ".join(self.problems()) or None

    @property
    def options(self) -> tuple[str, ...]:
        """Names of the options of `load`."""
        parameters = inspect.signature(self.load).parameters if self.load is not None else {}
        return tuple(key for key, each in parameters.items() if each.kind is each.KEYWORD_ONLY)

    def make(self, model: str | Path, **options: Any) -> Engine:
        """The engine; ValueError for an option that it does not have, or where there is no engine to make."""
        if self.load is None:
            raise ValueError(f"engine {self.name} cannot be loaded; {self.instead}")
        open_ended = any(each.kind is each.VAR_KEYWORD for each in inspect.signature(self.load).parameters.values())
        for key in options:
            if key not in self.options and not open_ended:
                raise ValueError(
                    f"{key} is not an option of the engine {self.name}; its options: {', '.join(self.options)}"
                )
        return self.load(model, **options)


class EngineRegistry(Mapping[str, EngineSpec]):
    """Specs by name, in the order of `moi doctor`; a spec's file is imported when it is first asked for."""

    def __init__(self) -> None:
        self.loaded: dict[str, EngineSpec] = {}

    def __getitem__(self, name: str) -> EngineSpec:
        """ValueError for an unknown name, RuntimeError that names an entry point which gives no spec."""
        if name not in self.loaded:
            self.loaded[name] = self._load(name)
        return self.loaded[name]

    def __iter__(self) -> Iterator[str]:
        yield from BUILT_IN
        yield from _points()

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, name: object) -> bool:
        return name in list(self)

    def loadable(self) -> list[str]:
        """Names of those that `load_engine` takes."""
        return [name for name, spec in self.items() if spec.load is not None]

    def serving(self) -> list[str]:
        """Names of those that have a server."""
        return [name for name, spec in self.items() if spec.server is not None]

    def _load(self, name: str) -> EngineSpec:
        if name in BUILT_IN:
            module, attribute = BUILT_IN[name].split(":")
            spec: EngineSpec = getattr(importlib.import_module(module), attribute)
            return spec
        points = _points()
        if name not in points:
            raise ValueError(f"engine={name!r} is unknown; allowed: {', '.join(self)}")
        made: EngineSpec = load(points[name], "engine", "an EngineSpec", lambda each: isinstance(each, EngineSpec))
        return made


ENGINES = EngineRegistry()


def _points() -> dict[str, EntryPoint]:
    return installed(GROUP, "engine", BUILT_IN)
