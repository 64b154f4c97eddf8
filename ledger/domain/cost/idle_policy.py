"""Decides who pays for what stood idle, by a dated policy of the entity.

Invariant: what users are given and what is left come to the idle cost, in its smallest units.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from typing import NamedTuple

from ledger.domain.apportion import apportion

OPERATOR, USE, PEAK_SHARE = "operator", "use", "peak_share"
RESERVED_TIER, RESERVED_SHARE = "reserved_tier", "reserved_share"
METHODS: Mapping[str, str] = {
    OPERATOR: "kept by the operator",
    USE: "spread in proportion to the cost attributed in the same scope",
    RESERVED_TIER: "charged to the tier that reserved the capacity",
    RESERVED_SHARE: "charged to who reserved the capacity, the rest by reserved share",
    PEAK_SHARE: "spread in proportion to the cost attributed in the scope's dearest quarter hour",
}
ASSET = "asset:"


class IdlePolicy(NamedTuple):
    """Who pays for idle of a scope (empty: of every deployment that none names) in a time;
    `reserved` is what part of it each tier reserved, as text."""

    scope: str
    version: int
    method: str
    reserved: Mapping[str, str]
    valid_from: datetime
    valid_to: datetime | None

    @property
    def about(self) -> str:
        """The policy in words."""
        return f"{self.scope or 'idle of a scope'} {METHODS[self.method]}, version {self.version}"


@dataclass(frozen=True, slots=True)
class User:
    """Somebody's part of a scope: the tier, what is attributed of its cost, and of it in the
    scope's dearest quarter hour, in smallest units."""

    tier: str
    attributed: int
    at_peak: int = 0


def shares(policy: IdlePolicy | None, idle: int, users: Sequence[User]) -> list[int]:
    """What each user pays of idle cost; what they do not is left to the operator.

    Without a policy it is spread by use.
    """
    method = USE if policy is None else policy.method
    if method == PEAK_SHARE:
        return _parts(idle, [user.at_peak for user in users])
    if method == USE or policy is None:
        return _parts(idle, [user.attributed for user in users])
    if method == OPERATOR:
        return [0] * len(users)
    return _reserved(policy, idle, users)


def _reserved(policy: IdlePolicy, idle: int, users: Sequence[User]) -> list[int]:
    """Each tier pays what it reserved and did not use; the rest is shared likewise, or nobody's."""
    reserved = {tier: Fraction(part) for tier, part in policy.reserved.items()}
    tiers = sorted(reserved)
    whole = idle + sum(user.attributed for user in users)
    used = [sum(user.attributed for user in users if user.tier == tier) for tier in tiers]
    unused = [
        max(int(reserved[tier] * whole) - taken, 0) for tier, taken in zip(tiers, used, strict=True)
    ]
    owed = unused if sum(unused) <= idle else _parts(idle, unused)
    rest = idle - sum(owed)
    if policy.method == RESERVED_SHARE:
        more = _parts(rest, _whole([reserved[tier] for tier in tiers]))
        owed = [own + other for own, other in zip(owed, more, strict=True)]
    paid = [0] * len(users)
    for tier, amount in zip(tiers, owed, strict=True):
        weights = [user.attributed if user.tier == tier else 0 for user in users]
        paid = [a + b for a, b in zip(paid, _parts(amount, weights), strict=True)]
    return paid


def _whole(parts: Sequence[Fraction]) -> list[int]:
    """Parts as whole numbers in the same proportion."""
    common = 1
    for part in parts:
        common *= part.denominator
    return [int(part * common) for part in parts]


def _parts(amount: int, weights: Sequence[int]) -> list[int]:
    """Largest remainder; nothing where there is nobody to go by."""
    if sum(weights) <= 0 or min(weights) < 0:
        return [0] * len(weights)
    return apportion(amount, weights)


def in_force(policies: Sequence[IdlePolicy], scope: str, moment: datetime) -> IdlePolicy | None:
    """The policy of a scope at a moment: its own, else that of every deployment.

    Hardware that nobody deployed has its own or none.
    """
    now = {
        policy.scope: policy
        for policy in policies
        if policy.valid_from <= moment and (policy.valid_to is None or moment < policy.valid_to)
    }
    return now.get(scope) or (None if scope.startswith(ASSET) else now.get(""))
