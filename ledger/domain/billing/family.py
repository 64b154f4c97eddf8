"""Turns whose child each customer is into who is above whom, and who of them pays.

Invariant: nobody is above itself, nobody has more than DEPTH_MAX above it, and of those above a
customer at a moment exactly one pays: the topmost.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from ledger.domain.errors import InvalidInputError
from ledger.domain.period import Period

DEPTH_MAX = 5


@dataclass(frozen=True, slots=True)
class ParentLink:
    """Whose child a customer is in a period."""

    customer_id: str
    parent_id: str
    valid: Period


@dataclass(frozen=True, slots=True, order=True)
class Above:
    """Who is above a customer in a period; the topmost `pays`."""

    customer_id: str
    above_id: str
    pays: bool
    valid: Period


def list_above(customers: Iterable[str], links: Iterable[ParentLink]) -> list[Above]:
    """Who is above some customers, of whom and of everybody above them all links are given.

    InvalidInputError where somebody would be above itself, or more than DEPTH_MAX above another.
    """
    by_child: dict[str, list[ParentLink]] = defaultdict(list)
    for link in links:
        by_child[link.customer_id].append(link)
    return sorted(each for customer in customers for each in _above(customer, by_child))


def _above(customer: str, by_child: dict[str, list[ParentLink]]) -> list[Above]:
    edges = sorted(
        {
            edge
            for name in _everybody_above(customer, by_child)
            for link in by_child.get(name, ())
            for edge in (link.valid.start, link.valid.end)
        }
    )
    spans: dict[tuple[str, bool], list[Period]] = defaultdict(list)
    for start, end in pairwise(edges):
        chain = _chain(customer, start, by_child)
        for above in chain:
            _extend(spans[above, above == chain[-1]], Period(start, end))
    return [
        Above(customer, above, pays, span) for (above, pays), some in spans.items() for span in some
    ]


def _everybody_above(customer: str, by_child: dict[str, list[ParentLink]]) -> set[str]:
    """The customer and all who are above it at any time."""
    seen, next_up = {customer}, [customer]
    while next_up:
        for link in by_child.get(next_up.pop(), ()):
            if link.parent_id not in seen:
                seen.add(link.parent_id)
                next_up.append(link.parent_id)
    return seen


def _chain(customer: str, at: datetime, by_child: dict[str, list[ParentLink]]) -> Sequence[str]:
    chain = [customer]
    for parent in _parents(customer, at, by_child):
        if parent in chain:
            circle = " of ".join([*chain[chain.index(parent) :], parent])
            raise InvalidInputError(
                f"{parent} would be above itself: {circle}, at {at.isoformat()}.",
                "Choose a parent that is not below the customer.",
                "parent_id",
            )
        chain.append(parent)
        if len(chain) > DEPTH_MAX + 1:
            raise InvalidInputError(
                f"{customer} would have more than {DEPTH_MAX} customers above it.",
                "Choose a parent that is higher up.",
                "parent_id",
            )
    return chain[1:]


def _parents(customer: str, at: datetime, by_child: dict[str, list[ParentLink]]) -> Iterator[str]:
    name: str | None = customer
    while name is not None:
        name = next((link.parent_id for link in by_child.get(name, ()) if at in link.valid), None)
        if name is not None:
            yield name


def _extend(spans: list[Period], span: Period) -> None:
    if spans and spans[-1].end == span.start:
        spans[-1] = Period(spans[-1].start, span.end)
    else:
        spans.append(span)
