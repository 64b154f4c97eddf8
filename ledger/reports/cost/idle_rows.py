"""Shares idle of scopes out to who used them, over times in which the same policies hold."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import TypeAlias

from ledger.domain.apportion import amount_of, apportion, units_of
from ledger.domain.cost.cost_sum import CostSum
from ledger.domain.cost.idle_policy import (
    ASSET,
    RESERVED_SHARE,
    IdlePolicy,
    User,
    in_force,
    shares,
)
from ledger.domain.money import total
from ledger.domain.period import EPOCH
from ledger.store.cost.idle_policies import DeployedGpus

Group: TypeAlias = tuple[str, ...]
# Who used a scope, with the tier that it was on.
_Users: TypeAlias = Mapping[tuple[Group, str], int]


@dataclass(frozen=True, slots=True)
class PolicyStretch:
    """Cost lines of a time from `since` on in which no policy changes, and what policies go by:
    lines of each scope's dearest quarter hour, and whose GPUs of each asset were."""

    cost: Sequence[CostSum]
    since: datetime = EPOCH
    policies: Sequence[IdlePolicy] = ()
    peaks: Sequence[CostSum] = ()
    gpus: Sequence[DeployedGpus] = ()


def spent(sums: CostSum) -> Decimal:
    """All of its cost."""
    return total([sums.device_cost, sums.overhead_cost, sums.gpu_cost])


@dataclass(slots=True)
class IdleShares:
    """What users of scopes pay of their idle in a stretch, by group."""

    stretch: PolicyStretch
    group_of: Callable[[CostSum], Group]
    used: Mapping[str, _Users] = field(init=False)
    at_peak: Mapping[str, _Users] = field(init=False)

    def __post_init__(self) -> None:
        self.used = self._by_scope(self.stretch.cost)
        self.at_peak = self._by_scope(self.stretch.peaks)

    def of(self, scope: str, idle: Decimal) -> Iterator[tuple[Group, Decimal]]:
        """What each group pays of a scope's idle cost; the rest is left."""
        policy = in_force(self.stretch.policies, scope, self.stretch.since)
        if scope.startswith(ASSET):
            paid = self._of_asset(scope, policy, units_of(idle))
        else:
            paid = self._of_users(policy, units_of(idle), self.used.get(scope, {}), scope)
        for (group, _), units in paid:
            if units:
                yield group, amount_of(units)

    def _by_scope(self, lines: Iterable[CostSum]) -> Mapping[str, _Users]:
        users: dict[str, dict[tuple[Group, str], int]] = defaultdict(lambda: defaultdict(int))
        for sums in lines:
            if sums.line == "usage":
                key = self.group_of(sums), str(sums.tier)
                users[sums.scope][key] += units_of(spent(sums))
        return users

    def _of_users(
        self, policy: IdlePolicy | None, idle: int, used: _Users, scope: str
    ) -> Iterator[tuple[tuple[Group, str], int]]:
        keys, at_peak = sorted(used), self.at_peak.get(scope, {})
        users = [User(key[1], used[key], at_peak.get(key, 0)) for key in keys]
        yield from zip(keys, shares(policy, idle, users), strict=True)

    def _of_asset(
        self, scope: str, policy: IdlePolicy | None, idle: int
    ) -> Iterator[tuple[tuple[Group, str], int]]:
        """Of hardware that served nothing: nobody's, unless its policy says whose."""
        mine = [each for each in self.stretch.gpus if each.asset_scope == scope]
        if policy is None or not mine:
            return
        if policy.method == RESERVED_SHARE:
            for each, part in zip(mine, apportion(idle, [d.part_s for d in mine]), strict=True):
                yield from self._of_users(None, part, self.used.get(each.scope, {}), each.scope)
            return
        used: dict[tuple[Group, str], int] = defaultdict(int)
        for each in mine:
            for key, units in self.used.get(each.scope, {}).items():
                used[key] += units
        yield from self._of_users(policy, idle, used, scope)
