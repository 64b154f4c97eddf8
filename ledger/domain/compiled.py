"""Compiles loops over bytes and numbers to machine code; what it costs is paid once a machine."""

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from numba import njit

P = ParamSpec("P")
R = TypeVar("R")


def inlined(function: Callable[P, R]) -> Callable[P, R]:
    """As `compiled`, but set into its callers: a call hands arrays over at a cost."""
    made: Callable[P, R] = njit(inline="always")(function)
    return made


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """The function as machine code that runs beside Python; kept on disk where there is a place."""
    try:
        made: Any = njit(nogil=True, cache=True)(function)
    except RuntimeError:
        # Neither the package's folder nor the user's may be written.
        made = njit(nogil=True)(function)
    typed: Callable[P, R] = made
    return typed
