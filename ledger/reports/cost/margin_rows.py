"""Turns sums of cost lines, tokens and charges into margin rows, before and after idle.

Idle goes by the policies of the entity; without one that of a deployment is spread over who used
it, in proportion to the cost attributed to them there. What nobody pays stays its own line. What a
site costs beside energy and hardware is spread likewise over who used deployments there.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial
from typing import Any, TypeAlias

from ledger.domain.apportion import amount_of, apportion, units_of
from ledger.domain.cost.cause import IDLE, cause_of
from ledger.domain.cost.cost_sum import ChargeSum, CostSum, TokenSum
from ledger.domain.cost.uncertainty import Uncertainty
from ledger.domain.metering.usage_mark import known_counts
from ledger.domain.money import EXACT, ZERO, total
from ledger.reports.cost.idle_rows import Group, IdleShares, PolicyStretch, spent

IDLE_POLICY = "idle of a scope spread in proportion to the cost attributed in the same scope"
SITE_POLICY = "cost of a site spread in proportion to the cost attributed at the same site"
OfUser: TypeAlias = CostSum | TokenSum | ChargeSum
# What is added up of each group, by the names of a row.
_Rows: TypeAlias = dict[Group, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class MarginRow:
    """One group's tokens, energy in mJ, cost and revenue; amounts are in the report's currency.

    `input_unknown` and the like are how many requests did not say it.
    """

    group: Group
    requests: int = 0
    uncached: int = 0
    cache_read: int = 0
    cache_write: int = 0
    output: int = 0
    input_unknown: int = 0
    output_unknown: int = 0
    cached_unknown: int = 0
    written_unknown: int = 0
    metered_mj: int = 0
    estimated_mj: int = 0
    host_mj: int = 0
    overhead_mj: int = 0
    electricity: Decimal = ZERO
    gpu_cost: Decimal = ZERO
    idle_share: Decimal = ZERO
    site_share: Decimal = ZERO
    revenue: Decimal = ZERO
    unpriced_tokens: int = 0

    @property
    def input_tokens(self) -> int:
        """All input tokens, cached or not."""
        return self.uncached + self.cache_read + self.cache_write

    @property
    def known(self) -> Mapping[str, int | None]:
        """Token counts by name, None where no request said one: unknown is not 0."""
        return known_counts(
            {
                "requests": self.requests,
                "uncached": self.uncached,
                "cache_read": self.cache_read,
                "cache_write": self.cache_write,
                "input_tokens": self.input_tokens,
                "output_tokens": self.output,
                "input_unknown": self.input_unknown,
                "output_unknown": self.output_unknown,
                "cached_unknown": self.cached_unknown,
                "written_unknown": self.written_unknown,
            }
        )

    @property
    def device_mj(self) -> int:
        """Energy of the GPUs alone, measured and estimated."""
        return self.metered_mj + self.estimated_mj

    @property
    def energy_mj(self) -> int:
        """Energy of the facility: devices, hosts beside them and the site's overhead."""
        return self.device_mj + self.host_mj + self.overhead_mj

    @property
    def cost_before_idle(self) -> Decimal:
        """Cost attributed to the group's own work."""
        return total([self.electricity, self.gpu_cost])

    @property
    def cost(self) -> Decimal:
        """Cost with the shares of idle and of sites that the policies give the group."""
        return total([self.electricity, self.gpu_cost, self.idle_share, self.site_share])


@dataclass(frozen=True, slots=True)
class OwnLine:
    """Cost of a scope that no usage took, as CAUSES has it; `left` is shared by nobody."""

    line: str
    scope: str
    busy_s: int
    metered_mj: int
    estimated_mj: int
    host_mj: int
    overhead_mj: int
    electricity: Decimal
    gpu_cost: Decimal
    left: Decimal

    @property
    def cause(self) -> str:
        """Why nobody's usage took it."""
        return cause_of(self.line, self.scope)

    @property
    def energy_mj(self) -> int:
        """Energy of the facility."""
        return self.metered_mj + self.estimated_mj + self.host_mj + self.overhead_mj

    @property
    def cost(self) -> Decimal:
        """All of its cost."""
        return total([self.electricity, self.gpu_cost])

    def __add__(self, later: "OwnLine") -> "OwnLine":
        """The same line over a later time as well."""
        return OwnLine(
            self.line,
            self.scope,
            self.busy_s + later.busy_s,
            self.metered_mj + later.metered_mj,
            self.estimated_mj + later.estimated_mj,
            self.host_mj + later.host_mj,
            self.overhead_mj + later.overhead_mj,
            total([self.electricity, later.electricity]),
            total([self.gpu_cost, later.gpu_cost]),
            total([self.left, later.left]),
        )


@dataclass(frozen=True, slots=True)
class MarginIntervals:
    """By what part energy and full cost of each group may be off, and those of all."""

    groups: Mapping[Group, Uncertainty]
    total: Uncertainty


@dataclass(frozen=True, slots=True)
class Shaped:
    """The rows of the groups, the lines that are nobody's, and what nobody shares of sites."""

    rows: tuple[MarginRow, ...]
    own_lines: tuple[OwnLine, ...]
    sites_left: Decimal = ZERO


@dataclass(frozen=True, slots=True)
class SiteShares:
    """What each site cost beside energy and hardware, and at which site a scope's hardware is."""

    costs: Mapping[str, Decimal]
    site_of: Mapping[str, str]

    def scopes_of(self, site: str) -> list[str]:
        """The scopes at a site."""
        return sorted(scope for scope, own in self.site_of.items() if own == site)


NO_SITES = SiteShares({}, {})


def group_of(sums: OfUser, by: Sequence[str]) -> Group:
    """What sums say for each of `by`; a customer nobody knows is named by its own reference."""
    said = {
        "customer": sums.customer_id or f"(unknown) {sums.customer_ref}",
        "agent": sums.agent_id,
        "tier": sums.tier,
        "model": sums.model,
        "project": sums.project_id,
        "api_key": sums.api_key_id,
        "adapter": sums.adapter,
        "region": sums.region,
    }
    return tuple(str(said[name]) for name in by)


def shape(
    *,
    stretches: Sequence[PolicyStretch],
    usage: Iterable[TokenSum],
    charges: Iterable[ChargeSum],
    by: Sequence[str],
    sites: SiteShares = NO_SITES,
) -> Shaped:
    """Margin rows per group, in the order of their names; amounts must share one currency."""
    rows: _Rows = {}
    for tokens in usage:
        _add(rows, group_of(tokens, by), **{name: getattr(tokens, name) for name in _TOKENS})
    for charge in charges:
        _add(
            rows,
            group_of(charge, by),
            revenue=charge.amount,
            unpriced_tokens=charge.unpriced_tokens,
        )
    own: dict[tuple[str, str], OwnLine] = {}
    attributed: dict[str, dict[Group, Decimal]] = defaultdict(lambda: defaultdict(lambda: ZERO))
    for stretch in stretches:
        idle = IdleShares(stretch, partial(group_of, by=by))
        for sums in stretch.cost:
            if sums.line != "usage":
                _own(rows, own, sums, idle)
                continue
            group = group_of(sums, by)
            _add(rows, group, **_cost_values(sums))
            of_scope = attributed[sums.scope]
            of_scope[group] = total([of_scope[group], spent(sums)])
    left = [
        _spread_site(rows, amount, [attributed[scope] for scope in sites.scopes_of(site)])
        for site, amount in sorted(sites.costs.items())
    ]
    lines = tuple(own[key] for key in sorted(own))
    return Shaped(_made(rows), lines, total(left))


def sum_rows(rows: Iterable[MarginRow], group: Group) -> MarginRow:
    """All rows in one."""
    added: _Rows = {group: {}}
    for row in rows:
        _add(added, group, **{name: getattr(row, name) for name in _SUMMED})
    return _made(added)[0]


_TOKENS = (
    *("requests", "uncached", "cache_read", "cache_write", "output"),
    *("input_unknown", "output_unknown", "cached_unknown", "written_unknown"),
)
_SUMMED = tuple(name for name in MarginRow.__dataclass_fields__ if name != "group")


def _own(
    rows: _Rows,
    own: dict[tuple[str, str], OwnLine],
    sums: CostSum,
    idle: IdleShares,
) -> None:
    """Put a line of nobody's beside those of before, and give groups what they pay of it."""
    line = _own_line(sums.scope, sums)
    paid = list(idle.of(sums.scope, line.cost)) if sums.line == IDLE else []
    for group, amount in paid:
        _add(rows, group, idle_share=amount)
    left = total([line.cost, *(amount.copy_negate() for _, amount in paid)])
    known = own.get((sums.scope, sums.line))
    line = replace(line, left=left)
    own[sums.scope, sums.line] = line if known is None else known + line


def _spread_site(rows: _Rows, cost: Decimal, scopes: Iterable[Mapping[Group, Decimal]]) -> Decimal:
    """Share what a site cost by what is attributed there; returns what nobody takes."""
    attributed: dict[Group, int] = defaultdict(int)
    for scope in scopes:
        for group, amount in scope.items():
            attributed[group] += units_of(amount)
    groups = sorted(attributed)
    weights = [attributed[group] for group in groups]
    if sum(weights) <= 0 or min(weights) < 0:
        return cost
    for group, part in zip(groups, apportion(units_of(cost), weights), strict=True):
        _add(rows, group, site_share=amount_of(part))
    return ZERO


def _own_line(name: str, sums: CostSum) -> OwnLine:
    line = OwnLine(
        line=sums.line,
        scope=name,
        busy_s=sums.busy_s,
        left=ZERO,
        **_cost_values(sums),
    )
    return replace(line, left=line.cost)


def _cost_values(sums: CostSum) -> dict[str, Any]:
    return {
        "metered_mj": sums.device_metered_mj,
        "estimated_mj": sums.device_estimated_mj,
        "host_mj": sums.host_mj,
        "overhead_mj": sums.overhead_mj,
        "electricity": _electricity(sums),
        "gpu_cost": sums.gpu_cost,
    }


def _electricity(sums: CostSum) -> Decimal:
    return total([sums.device_cost, sums.overhead_cost])


def _add(rows: _Rows, group: Group, **values: Any) -> None:
    sums = rows.setdefault(group, {})
    for name, value in values.items():
        if name not in sums:
            sums[name] = value
        elif isinstance(value, Decimal):
            sums[name] = EXACT.add(sums[name], value)
        else:
            sums[name] += value


def _made(rows: _Rows) -> tuple[MarginRow, ...]:
    return tuple(MarginRow(group, **rows[group]) for group in sorted(rows))
