"""Compiles loops over bytes and numbers to machine code; what it costs is paid once a machine."""

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from hashlib import sha256
from pathlib import Path
from types import FunctionType
from typing import ParamSpec, TypeVar

from numba import config, njit
from numba.core.caching import (
    InTreeCacheLocator,
    UserProvidedCacheLocator,
    UserWideCacheLocator,
    _CacheLocator,
)
from numba.core.dispatcher import Dispatcher

P = ParamSpec("P")
R = TypeVar("R")
_CONSTANTS = (int, str)


class _OfAllItReads(_CacheLocator):
    """Keeps machine code for as long as nothing has changed that went into it.

    numba looks at a function's own file; what it calls and the constants that it imports, of other
    files, are compiled into it as well.
    """

    def __init__(self, function: FunctionType, path: str) -> None:
        super().__init__(function, path)  # type: ignore[call-arg]
        self._function = function

    def get_source_stamp(self) -> object:
        """Digests of the files, and the constants, that the function's code is made of."""
        functions = self._function, *_called(self._function, {self._function.__module__})
        files = {each.__module__: each.__code__.co_filename for each in functions}
        digests = [_digest(files[name]) for name in sorted(files)]
        return digests, _constants(self._function.__globals__)


class Given(_OfAllItReads, UserProvidedCacheLocator):
    """The folder that NUMBA_CACHE_DIR names."""


class InTree(_OfAllItReads, InTreeCacheLocator):
    """Beside the source."""


class OfUser(_OfAllItReads, UserWideCacheLocator):
    """The user's folder of caches."""


_LOCATORS = ",".join(f"{__name__}.{each.__name__}" for each in (Given, InTree, OfUser))
vars(config).update(CACHE_LOCATOR_CLASSES=_LOCATORS)


@cache
def _digest(path: str) -> bytes:
    return sha256(Path(path).read_bytes()).digest()


def _called(function: FunctionType, seen: set[str]) -> Iterator[FunctionType]:
    """Compiled functions that it could call, by what its module and theirs have imported."""
    for value in list(function.__globals__.values()):
        if isinstance(value, Dispatcher) and value.py_func.__module__ not in seen:
            seen.add(value.py_func.__module__)
            yield value.py_func
            yield from _called(value.py_func, seen)


def _constants(names: Mapping[str, object]) -> list[tuple[str, str]]:
    own = ((name, value) for name, value in names.items() if not name.startswith("__"))
    return sorted((name, repr(value)) for name, value in own if _is_constant(value))


def _is_constant(value: object) -> bool:
    parts = value if isinstance(value, tuple) else (value,)
    return all(isinstance(part, _CONSTANTS) for part in parts)


def inlined(function: Callable[P, R]) -> Callable[P, R]:
    """As `compiled`, but set into its callers: a call hands arrays over at a cost."""
    made: Callable[P, R] = njit(inline="always")(function)
    return made


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """The function as machine code that runs beside Python; kept on disk where there is a place."""
    try:
        made: Callable[P, R] = njit(nogil=True, cache=True)(function)
    except RuntimeError:
        # Neither the package's folder nor the user's may be written.
        made = njit(nogil=True)(function)
    return made
