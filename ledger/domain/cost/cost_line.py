"""What allocation leaves of a window, by natural key: meters, pools and cost lines."""

from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import TypeAlias

from ledger.domain.money import ZERO

LineKey: TypeAlias = tuple[str, datetime, str, int]
PoolKey: TypeAlias = tuple[str, datetime, str]
MeterKey: TypeAlias = tuple[str, datetime]


@dataclass(frozen=True, slots=True)
class MeterWindow:
    """Energy of one GPU in one window in mJ, measured and estimated apart."""

    metered_mj: int
    estimated_mj: int
    covered_s: int
    findings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CostPool:
    """What a scope's window costs before anybody is charged with it."""

    currency: str
    amount: Decimal


@dataclass(frozen=True, slots=True)
class CostLine:
    """One line of a scope's window; amounts at scale twelve, with the weights that cut it."""

    currency: str
    weight_version: int
    weight_uncached: int
    weight_cache_read: int
    weight_cache_write: int
    weight_output: int
    gpu_terms: str
    busy_s: int
    device_metered_mj: int
    device_estimated_mj: int
    host_mj: int
    overhead_mj: int
    device_cost: Decimal
    overhead_cost: Decimal
    gpu_cost: Decimal

    def nothing(self) -> "CostLine":
        """The same line where it ceased to apply."""
        return replace(
            self,
            busy_s=0,
            device_metered_mj=0,
            device_estimated_mj=0,
            host_mj=0,
            overhead_mj=0,
            device_cost=ZERO,
            overhead_cost=ZERO,
            gpu_cost=ZERO,
        )


@dataclass(slots=True)
class WindowCosts:
    """What came out, by natural key."""

    meters: dict[MeterKey, MeterWindow] = field(default_factory=dict)
    pools: dict[PoolKey, CostPool] = field(default_factory=dict)
    lines: dict[LineKey, CostLine] = field(default_factory=dict)

    def add(self, other: "WindowCosts") -> None:
        """Take in the costs of another window."""
        self.meters.update(other.meters)
        self.pools.update(other.pools)
        self.lines.update(other.lines)
