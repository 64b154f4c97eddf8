"""The fields of one board, asked for again and again into memory that is kept.

The binding makes the question anew each time, which costs more than the answer.
"""

import ctypes
import struct
from collections.abc import Callable

# (its own time in us since 1970, the kind of its number, the library's code, the number's bits).
FieldValue = tuple[int, int, int, int]
_VALUE = struct.Struct("@8xq8xiiQ")
_ASKED = struct.Struct("@II32x")


class FieldValues:
    """A question asked once through the binding, whose array of answers it keeps."""

    def __init__(
        self, ask: Callable[..., int], handle: object, asked: "ctypes.Array[ctypes.Structure]"
    ) -> None:
        self._ask, self._handle, self._answers = ask, handle, asked
        self._count, self._place = ctypes.c_int(len(asked)), ctypes.byref(asked)
        self._blank = b"".join(_ASKED.pack(*which) for which in _ASKED.iter_unpack(asked))

    def read(self) -> tuple[int, list[FieldValue]]:
        """The library's code, and its answers in the order of the question where it is zero."""
        # What a library leaves unwritten is not the answer of the time before.
        ctypes.memmove(self._place, self._blank, len(self._blank))
        code = self._ask(self._handle, self._count, self._place)
        return code, list(_VALUE.iter_unpack(self._answers))
