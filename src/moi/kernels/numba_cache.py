"""What Numba compiles, kept on disk: seconds in the first process are milliseconds in the next.

Numba's own cache asks whether the file of a function has changed. The weights of a policy lie in other files, of other
packages even, so the key here is what is compiled: the byte code of a function and of all that it refers to, and the
names of their modules, which Numba imports when it reads what was kept.
"""

from __future__ import annotations

import builtins
import dis
import functools
import hashlib
import os
import pickle
import sys
import tempfile
from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any

import numba
import numpy as np
from numba.core.caching import NullCache
from numba.core.compiler import CompileResult
from numba.core.dispatcher import Dispatcher
from numba.core.serialize import dumps

from moi.cache_folder import cache_folder

_CONSTANTS = (int, float, str, bytes, type(None), np.generic)
_MODULES = ("math", "numpy")  # others may hold what changes
_CHECK = hashlib.sha256().digest_size


def compiled(function: Callable[..., Any], keep: bool = False, **options: Any) -> Any:
    """Like `numba.njit`, without Python's errors of division.

    keep  on disk: of functions that Python calls, with which all that they call is kept, too
    """
    assert isinstance(function, FunctionType)
    options = {"error_model": "numpy", "nogil": True, **options}
    key = _key(function, options)
    if key is None:
        return numba.njit(**options)(function)
    # Machine code is named after it: what was kept must not meet other code of its name in a process.
    named = FunctionType(
        *(function.__code__, function.__globals__, function.__name__, function.__defaults__, function.__closure__)
    )
    named.__qualname__, named.__doc__ = f"{function.__qualname__}_{key[:24]}", function.__doc__
    dispatcher: Any = numba.njit(**options)(named)
    if isinstance(dispatcher, Dispatcher):  # not where Numba is switched off
        _keys[dispatcher] = key
        if keep:
            dispatcher._cache = Kept(key)
    return dispatcher


kept = functools.partial(compiled, keep=True)


class Kept(NullCache):  # type: ignore[misc]
    """The compiled variants of one function, a file each, written whole or not at all."""

    def __init__(self, key: str) -> None:
        self._key = key

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """What was compiled for a signature; None where nothing is kept that can be read."""
        target_context.refresh()
        try:
            data = self._path(sig, target_context.codegen()).read_bytes()
        except (OSError, RuntimeError):
            return None
        check, data = data[:_CHECK], data[_CHECK:]
        if hashlib.sha256(data).digest() != check:
            return None
        return CompileResult._rebuild(target_context, *pickle.loads(data))

    def save_overload(self, sig: Any, cres: Any) -> None:
        """Keep it, if the folder can be written."""
        if cres.lifted or cres.library.has_dynamic_globals:
            return
        data = dumps(cres._reduce())
        try:
            _write(self._path(sig, cres.codegen), hashlib.sha256(data).digest() + data)
        except (OSError, RuntimeError):
            return

    def _path(self, sig: Any, codegen: Any) -> Path:
        versions = numba.__version__, sys.version_info[:3]
        name = hashlib.sha256(repr((self._key, str(sig), codegen.magic_tuple(), versions)).encode()).hexdigest()
        return cache_folder() / "numba" / name


_keys: dict[Any, str] = {}


def _key(function: FunctionType, options: dict[str, Any]) -> str | None:
    """The same for the same machine code, in any process; None where it depends on what cannot be told."""
    try:
        parts = [repr(sorted(options.items())), *_function(function)]
    except _UnknownError:
        return None
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


class _UnknownError(TypeError):
    """Of a value that a function refers to."""


def _function(function: FunctionType) -> Iterator[str]:
    yield str(function.__globals__.get("__name__"))
    yield from _value(function.__defaults__)
    yield from _code(function.__code__, ChainMap(function.__globals__, vars(builtins)))
    for cell in function.__closure__ or ():
        yield from _value(cell.cell_contents)


def _code(code: CodeType, scope: Mapping[str, Any]) -> Iterator[str]:
    yield repr((code.co_code, code.co_names, code.co_varnames, code.co_freevars, code.co_argcount))
    for constant in code.co_consts:
        yield from _code(constant, scope) if isinstance(constant, CodeType) else _value(constant)
    for name in sorted({each.argval for each in dis.get_instructions(code) if each.opname == "LOAD_GLOBAL"}):
        if name not in scope:  # defined later
            raise _UnknownError(name)
        yield from _value(scope[name])


def _value(value: Any) -> Iterator[str]:
    if isinstance(value, _CONSTANTS):
        yield repr((type(value).__name__, value))
    elif isinstance(value, tuple):
        yield repr(len(value))
        for each in value:
            yield from _value(each)
    elif isinstance(value, np.ndarray):
        yield repr((value.dtype.str, value.shape, value.tobytes()))
    elif isinstance(value, ModuleType) and value.__name__ in _MODULES:
        yield f"{value.__name__} {getattr(value, '__version__', '')}"
    elif isinstance(value, (type, BuiltinFunctionType)) and value.__module__ in ("builtins", *_MODULES):
        yield f"{value.__module__}.{value.__qualname__}"
    elif isinstance(value, Dispatcher) and value in _keys:
        yield _keys[value]
    else:
        raise _UnknownError(type(value).__name__)


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)  # what lies there is executed
    handle, name = tempfile.mkstemp(dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
