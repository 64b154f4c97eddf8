"""What an attempt may be beside well done and final, as far as a contract may say who pays for it.

An attempt may be several at once, so these are bits: the n-th of the wire's list is 1 << n.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import get_args

from ledger.wire.usage import Outcome

OUTCOMES: tuple[str, ...] = get_args(Outcome)
BITS: Mapping[str, int] = MappingProxyType({name: 1 << n for n, name in enumerate(OUTCOMES)})


def outcome_bits(names: Iterable[str]) -> int:
    """The bits of some outcomes; KeyError for an unknown one."""
    return sum(BITS[name] for name in set(names))


def outcome_names(bits: int) -> list[str]:
    """The outcomes that are set, in the order of the list."""
    return [name for name, bit in BITS.items() if bits & bit]
