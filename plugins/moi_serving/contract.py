"""What a plugin relies on in its host, declared where it is used, and the check that an installed host has it.

A host may grow: a callable may take more than what is declared, and a class may have more.
"""

from __future__ import annotations

import dis
import functools
import inspect
import operator
import pkgutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Symbol:
    """A callable or a class of a host.

    name         dotted, "package.module.Class.method"
    positional   parameters that come first, in this order, after `self` or `cls`
    keywords     others that it takes by their names
    called       by the plugin: it may require nothing that is not declared
    fields       of a class or its instances
    """

    name: str
    positional: tuple[str, ...] = ()
    keywords: tuple[str, ...] = ()
    called: bool = False
    fields: tuple[str, ...] = ()


class Contract:
    """The declarations of one host, all of whose names begin with `prefix`, as dotted names or signatures.

    A signature is written as in Python, without `self`: "module.Class.method(first, second, *, by_name)".
    """

    def __init__(self, prefix: str) -> None:
        self.symbols: list[Symbol] = []
        self._prefix = prefix

    def hooked(self, signature: str) -> str:
        """A callable that the plugin hooks; its dotted name."""
        return self._declared(signature, called=False)

    def called(self, *signatures: str) -> None:
        """Callables that the plugin calls."""
        for signature in signatures:
            self._declared(signature, called=True)

    def function(self, signature: str) -> Callable[..., Any]:
        """One that is called so: imported at its first call, which raises ImportError or AttributeError."""
        name = self._declared(signature, called=True)
        found = functools.cache(lambda: pkgutil.resolve_name(name))
        return lambda *args, **kwargs: found()(*args, **kwargs)

    def has(self, owner: str, *fields: str) -> None:
        """Fields of a class that the plugin reads or sets."""
        self.symbols.append(Symbol(self._prefix + owner, fields=fields))

    def field(self, owner: str, name: str) -> Callable[[Any], Any]:
        """One that is read so, of an instance of the class `owner`; a dotted name goes on from there."""
        self.has(owner, name.partition(".")[0])
        return operator.attrgetter(name)

    def _declared(self, signature: str, called: bool) -> str:
        name, _, parameters = (self._prefix + signature).rstrip(")").partition("(")
        positional, _, keywords = (_names(part) for part in parameters.partition("*"))
        self.symbols.append(Symbol(name, positional, keywords, called))
        return name


def problems(symbols: Iterable[Symbol]) -> list[str]:
    """One sentence for each thing that the installed host lacks. Imports what is declared."""
    return [problem for symbol in symbols for problem in _problems(symbol)]


def _names(text: str) -> tuple[str, ...]:
    return tuple(name for part in text.split(",") if (name := part.strip()))


def _problems(symbol: Symbol) -> Iterator[str]:
    try:
        found = pkgutil.resolve_name(symbol.name)
    except Exception as error:  # whatever a module raises that lacks its own dependencies
        yield f"{symbol.name} is missing: {error}"
        return
    if symbol.positional or symbol.keywords or symbol.called:
        yield from (f"{symbol.name} {problem}" for problem in _parameter_problems(symbol, found))
    if lost := [field for field in symbol.fields if field not in _attributes(found)]:
        yield f"{symbol.name} has no {', '.join(lost)}"


def _parameter_problems(symbol: Symbol, found: Any) -> Iterator[str]:
    parameters = inspect.signature(getattr(found, "__func__", found)).parameters
    taken = {name: each for name, each in parameters.items() if name not in ("self", "cls")}
    declared, names = (*symbol.positional, *symbol.keywords), f"it takes ({', '.join(taken)})"
    if lost := [name for name in declared if name not in taken]:
        yield f"no longer takes {', '.join(lost)}: {names}"
    elif tuple(taken)[: len(symbol.positional)] != symbol.positional:
        yield f"no longer begins with {', '.join(symbol.positional)}: {names}"
    optional = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    required = [name for name, each in taken.items() if each.default is each.empty and each.kind not in optional]
    if symbol.called and (new := [name for name in required if name not in declared]):
        yield f"also needs {', '.join(new)}: {names}"


def _attributes(found: Any) -> set[str]:
    """What a class or its instances have: its attributes, fields, and what its methods assign."""
    names = {*dir(found), *getattr(found, "model_fields", ())}
    for base in inspect.getmro(found):
        names |= set(getattr(base, "__annotations__", ()))
        for member in vars(base).values():
            code = getattr(inspect.unwrap(member), "__code__", None)
            if code is not None:
                names |= {each.argval for each in dis.get_instructions(code) if each.opname == "STORE_ATTR"}
    return names
