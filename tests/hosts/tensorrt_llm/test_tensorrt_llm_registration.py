"""Registration of the mixed models: here, in worker processes, and from the custom module's folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import tensorrt_llm_recorded

pytest.importorskip("moi_tensorrt_llm")
from moi import MoIConfig
from moi_tensorrt_llm import custom_module_dir, registration
from moi_tensorrt_llm.server_settings import DEFAULT_VARIABLES, REPLAY_VARIABLES, ServerSettings, server_settings


def test_registration_keeps_names_and_architectures(host: dict[str, ModuleType]) -> None:
    names = registration.register_models()
    assert names == sorted(registration.ARCHITECTURES)
    for name in names:
        registered = tensorrt_llm_recorded.MODEL_CLASS_MAPPING[name]
        assert registered.__name__ == name
        assert issubclass(registered, getattr(tensorrt_llm_recorded, name))


# A process that finds the recorded TensorRT-LLM, as a launching process and its workers do.
_PROCESS = """
import importlib, pickle, sys
import tensorrt_llm_recorded
from moi_tensorrt_llm import contract

class Patch:
    setitem = staticmethod(dict.__setitem__)

tensorrt_llm_recorded.install(Patch)
contract.version = lambda name: "1.2.1"
"""
_LAUNCH = "import {register}; sys.stdout.buffer.write(pickle.dumps(tensorrt_llm_recorded.MODEL_CLASS_MAPPING))"
_WORKERS = {
    "by pickle": "found = pickle.load(sys.stdin.buffer)",
    "by the name of the module": (
        "importlib.import_module({module!r}); found = tensorrt_llm_recorded.MODEL_CLASS_MAPPING"
    ),
}


def process(code: str, given: bytes = b"") -> bytes:
    """What a spawned process writes."""
    helpers = Path(tensorrt_llm_recorded.__file__).parent
    paths = [str(helpers), str(custom_module_dir().parent), os.environ.get("PYTHONPATH", "")]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    done = subprocess.run([sys.executable, "-c", _PROCESS + code], env=environ, input=given, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


@pytest.mark.parametrize("way", _WORKERS)
@pytest.mark.slow
def test_the_registration_reaches_a_worker(way: str) -> None:
    """In both of the host's ways: it pickles its mapping, or names the module of each class."""
    sent = process(_LAUNCH.format(register=custom_module_dir().name))
    receive = _WORKERS[way].format(module="moi_tensorrt_llm.registered_models")
    told = process(f"{receive}; print(*(c.__module__ + ':' + c.__qualname__ for c in found.values()))", sent)
    assert told.decode().split() == [
        f"moi_tensorrt_llm.registered_models:{name}" for name in registration.ARCHITECTURES
    ]
    registered = process(f"{receive}; print(*tensorrt_llm_recorded.MODEL_CLASS_MAPPING)", sent)
    assert registered.decode().split() == list(registration.ARCHITECTURES), "and the worker's own registry has them"


@pytest.mark.parametrize("text", ["{", "[1]", '{"nope": 1}', '{"prior": "sampling"}'])
def test_a_bad_default_is_refused(text: str) -> None:
    for name in DEFAULT_VARIABLES:
        with pytest.raises(ValueError, match=name):
            server_settings({name: text})


def test_a_good_default_is_read() -> None:
    first, second = DEFAULT_VARIABLES
    assert server_settings({first: '{"beta": 2}'}).moi == MoIConfig(beta=2)
    assert server_settings({second: '{"beta": 2}', first: ""}).moi == MoIConfig(beta=2)
    assert server_settings({}) == ServerSettings(MoIConfig("token"), 0)
    sampling = '{"policy": "token", "top_k": 9, "prior": "sampling"}'
    assert server_settings({first: sampling}).moi == MoIConfig("token", top_k=9, prior="sampling")
    assert server_settings({REPLAY_VARIABLES[1]: "4096"}).replay_tokens == 4096
    with pytest.raises(ValueError, match=f"{first} and {second} differ; set one of them"):
        server_settings({first: '{"beta": 2}', second: '{"beta": 3}'})
    with pytest.raises(ValueError, match="policy 'gumbel' needs each request's seed"):
        server_settings({first: '{"policy": "gumbel"}'})
    with pytest.raises(ValueError, match=f"{REPLAY_VARIABLES[0]}='-1' is not a number of tokens"):
        server_settings({REPLAY_VARIABLES[0]: "-1"})


@pytest.mark.slow
def test_the_custom_module_folder_is_printed_and_only_it_registers() -> None:
    result = subprocess.run([sys.executable, "-m", "moi_tensorrt_llm"], capture_output=True, text=True, check=True)
    folder = Path(result.stdout.strip())
    assert folder == custom_module_dir()
    assert [path.name for path in folder.parent.iterdir() if path.name != "__pycache__"] == [folder.name]
    code = f"import sys; sys.path.insert(0, {str(folder.parent)!r}); import {folder.name}"
    failed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert failed.returncode != 0
    assert "tensorrt_llm is not installed" in failed.stderr
