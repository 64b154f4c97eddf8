"""The unit that a page says one of its families is in: by words, signs or the family's own name."""

import re
from collections.abc import Iterable, Iterator
from decimal import Decimal

# Signs are told apart by case (mJ, MJ); words and the parts of a name are not.
_SIGN = re.compile("(?<![A-Za-z\u00b5\u03bc])([num\u00b5\u03bckMG]?)([JW])([· ]?h)?(?![A-Za-z])")
_WORD = re.compile(
    r"(nano|micro|milli|kilo|mega|giga)?[\s_-]?(joule|watt)s?([\s_-]?hour)?", re.IGNORECASE
)
# `mwh` of a name may be a thousandth of a Wh or a million.
_PART = re.compile(r"_(?!mwh)([numk]?)([jw])(h?)(?![a-z0-9])", re.IGNORECASE)
_POWERS_OF_TEN = {
    **{"": 0, "n": -9, "u": -6, "\u00b5": -6, "\u03bc": -6, "m": -3, "k": 3, "M": 6, "G": 9},
    **{"nano": -9, "micro": -6, "milli": -3, "kilo": 3, "mega": 6, "giga": 9},
}
_SECONDS_PER_HOUR = 3_600
_THOUSANDTHS = Decimal(1_000)
JOULE, WATT = "J", "W"


def scale_of(unit: str, name: str, said: Iterable[str]) -> Decimal | None:
    """How many mJ (of JOULE) or mW (of WATT) one of the family is, by the first that says it: its
    name, or what is said of it. None where none does, or where that one says several."""
    for units in (_in_name(name), *map(_in_words, said)):
        scales = {scale for read, scale in units if read == unit}
        if scales:
            return scales.pop() if len(scales) == 1 else None
    return None


def _in_name(name: str) -> Iterator[tuple[str, Decimal]]:
    yield from map(_scaled, _WORD.findall(name))
    yield from map(_scaled, ((a.lower(), b, c) for a, b, c in _PART.findall(name)))


def _in_words(words: str) -> Iterator[tuple[str, Decimal]]:
    yield from map(_scaled, _WORD.findall(words))
    yield from map(_scaled, _SIGN.findall(words))


def _scaled(printed: tuple[str, str, str]) -> tuple[str, Decimal]:
    prefix, unit, hours = printed
    power_of_ten = _POWERS_OF_TEN[prefix if len(prefix) == 1 else prefix.lower()]
    scale = _THOUSANDTHS.scaleb(power_of_ten)
    if unit[0] in "jJ":
        return JOULE, scale
    return (JOULE, scale * _SECONDS_PER_HOUR) if hours else (WATT, scale)
