"""A factory's slow facts as known at one cut-off: what it runs, what that costs, and where."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Protocol, TypeVar

from ledger.domain.cost.deployment import Deployment
from ledger.domain.cost.drift import FittedInForce
from ledger.domain.energy.calibration import Calibration
from ledger.domain.entity import LegalEntity


class DatedTerms(Protocol):
    """Anything valid in [valid_from, valid_to); `valid_to` None is open."""

    @property
    def valid_from(self) -> datetime: ...
    @property
    def valid_to(self) -> datetime | None: ...


D = TypeVar("D", bound=DatedTerms)


@dataclass(frozen=True, slots=True)
class AssetTerms:
    """What hardware costs in [valid_from, valid_to): owned (bought, with a life) or leased."""

    asset_id: str
    entity_id: str
    facility_id: str
    name: str
    terms: str
    gpu_count: int
    currency: str
    purchase_price: Decimal | None
    residual_value: Decimal | None
    in_service: datetime | None
    life_months: int | None
    gpu_hour_rate: Decimal | None
    all_in: bool
    valid_from: datetime
    valid_to: datetime | None
    method: str = "straight_line"
    rate_percent: Decimal | None = None

    @property
    def scope(self) -> str:
        """The name of the cost lines of what nobody deployed."""
        return f"asset:{self.asset_id}"


@dataclass(frozen=True, slots=True)
class SiteUplift:
    """What a site adds to a GPU: host power beside it in mW, and PUE at least 1."""

    facility_id: str
    pue: Decimal
    host_mw_per_gpu: int
    valid_from: datetime
    valid_to: datetime | None


@dataclass(frozen=True, slots=True)
class EnergyMeter:
    """What a meter measures at a site (gpu, host, it, facility) and its calibration: true is `gain`
    times what its counter grew, and `offset_mw` all the while. A host's is beside `gpu_uuids`."""

    meter: str
    facility_id: str
    measures: str
    gpu_uuids: Sequence[str]
    gain: Decimal
    offset_mw: int
    valid_from: datetime
    valid_to: datetime | None

    @property
    def calibration(self) -> Calibration:
        """What makes true energy of its counter's."""
        return Calibration(self.gain, self.offset_mw, self.valid_from, self.valid_to)


@dataclass(frozen=True, slots=True)
class PowerPrice:
    """What one MWh costs at a site in [valid_from, valid_to)."""

    facility_id: str
    tariff_id: str
    currency: str
    price_per_mwh: Decimal
    valid_from: datetime
    valid_to: datetime


@dataclass(frozen=True, slots=True)
class GpuHome:
    """Whose GPU it is, and of which asset (None: no deployment ever named it)."""

    gpu_uuid: str
    entity_id: str
    asset_id: str | None


@dataclass(frozen=True, slots=True)
class Factory:
    """Slow facts of one entity over some periods; deployments are those of every entity.

    `histories` are all terms of each asset, oldest first: what they left is written off later.
    """

    entity: LegalEntity
    assets: Sequence[AssetTerms]
    deployments: Sequence[Deployment]
    uplifts: Sequence[SiteUplift]
    prices: Sequence[PowerPrice]
    homes: Mapping[str, GpuHome]
    meters: Sequence[EnergyMeter] = ()
    fitted: Sequence[FittedInForce] = ()
    histories: Mapping[str, Sequence[AssetTerms]] = field(default_factory=dict)

    def history_of(self, asset: AssetTerms) -> list[AssetTerms]:
        """Its terms up to these, oldest first."""
        known = self.histories.get(asset.asset_id, (asset,))
        return [row for row in known if row.valid_from <= asset.valid_from]

    @property
    def beside(self) -> frozenset[str]:
        """Meters of hosts and sites: no GPU is behind them."""
        return frozenset(meter.meter for meter in self.meters if meter.measures != "gpu")


def valid_at(dated: Iterable[D], moment: datetime) -> list[D]:
    """Those valid at `moment`."""
    return [
        d for d in dated if d.valid_from <= moment and (d.valid_to is None or moment < d.valid_to)
    ]
