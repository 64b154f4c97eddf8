"""Cost of groups as lines of CSV, and beside them what is nobody's, so that columns add up."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any, TypeAlias

from ledger.domain.money import plain, total

USED, SITES = "used", "sites"
Line: TypeAlias = dict[str, Any]


def group_lines(said: Line) -> Iterator[Line]:
    """A line for each group, and for each scope's energy and cost that is in no group."""
    beside = _beside(said)
    yield from (beside | {"line": USED} | item for item in said["items"])
    yield from (beside | line for line in said["own_lines"])


def margin_lines(said: Line) -> Iterator[Line]:
    """The same, where groups have their shares of idle and of sites: what they share comes off."""
    own = [_own_line(line) for line in said["own_lines"]]
    yield from group_lines({**said, "own_lines": own})
    if said["site_costs"]:
        left = said["sites_left"]
        yield _beside(said) | {"line": SITES, "site_share": left, "cost": left}


def _beside(said: Line) -> Line:
    """Every column, so that there are the same where nobody used anything."""
    return dict.fromkeys((*said["by"], "line", "scope", "cause", *said["total"]))


def _own_line(line: Line) -> Line:
    cost, left = Decimal(line["cost"]), Decimal(line["shared_by_nobody"])
    shared = {"cost_before_idle": line["cost"], "idle_share": plain(total([left, -cost]))}
    own = {name: value for name, value in line.items() if name != "shared_by_nobody"}
    return {**own, **shared, "cost": plain(left)}
