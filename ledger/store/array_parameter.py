"""Arrays as PostgreSQL writes them, for parameters of very many values: each value of a list is
looked at several times on its way through asyncpg."""

from collections.abc import Sequence

_QUOTE, _ESCAPE = '"', "\\"


def array_parameter(values: Sequence[str]) -> str:
    """Texts, as one that is cast to an array.

    >>> array_parameter(["a", 'b "c"'])
    '{"a","b \\\\"c\\\\""}'
    """
    if not values:
        return "{}"
    inside = '","'.join(values)
    # Few have a sign that means something else inside an array.
    if _ESCAPE in inside or inside.count(_QUOTE) != 2 * (len(values) - 1):
        inside = '","'.join([_escaped(value) for value in values])
    return f'{{"{inside}"}}'


def _escaped(value: str) -> str:
    return value.replace(_ESCAPE, r"\\").replace(_QUOTE, r"\"")
