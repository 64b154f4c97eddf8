"""Hosts and sites that are metered: measured host energy and PUE, where else they are declared.

Invariant: a host's energy is shared by its GPUs to the last millijoule, whoever deploys them. A
meter that does not cover a whole window measures none of it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal

from ledger.domain.cost.factory import EnergyMeter, valid_at
from ledger.domain.energy.gpu_part import GpuPart, nth_part
from ledger.domain.energy.gpu_spans import BoardSpans
from ledger.domain.energy.meter import energy_between
from ledger.domain.energy.span import Span
from ledger.domain.money import ROUNDING
from ledger.domain.period import MICROSECOND, WINDOW, Period

PUE_STEP = Decimal("0.000001")


@dataclass(frozen=True, slots=True)
class HostShare:
    """A measured host's energy, and which parts of its `whole` GPUs share it, by their ordinals."""

    spans: Sequence[Span]
    parts: Sequence[tuple[int, GpuPart]]
    whole: int

    def part_of(self, energy_mj: int) -> int:
        """What these GPUs share of an energy."""
        return sum(
            part.of(nth_part(energy_mj, [1] * (ordinal + 1), self.whole))
            for ordinal, part in self.parts
        )


@dataclass(frozen=True, slots=True)
class SiteMeters:
    """The meters of a site that cover one window, with what they counted in it."""

    window: Period
    covering: Sequence[tuple[EnergyMeter, Sequence[Span], int]]

    @classmethod
    def of(
        cls,
        meters: Iterable[EnergyMeter],
        window: Period,
        site: str | None,
        spans: Mapping[str, BoardSpans],
    ) -> "SiteMeters":
        """Those of the site that have readings for all of the window."""
        covering = []
        for meter in valid_at(meters, window.start):
            if meter.measures == "gpu" or meter.facility_id != site or meter.meter not in spans:
                continue
            metered = spans[meter.meter].within(window)
            (counted,) = energy_between(metered, [window.start, window.end])
            if counted.covered_us == WINDOW // MICROSECOND:
                covering.append((meter, metered, counted.total_mj))
        return cls(window, covering)

    def hosts_of(self, gpus: Mapping[str, GpuPart]) -> tuple[HostShare, ...]:
        """What hosts of these parts of GPUs used beside them; a GPU has one host."""
        shares: list[HostShare] = []
        left = set(gpus)
        for meter, metered, _ in self.covering:
            if meter.measures == "host":
                named = sorted(set(meter.gpu_uuids))
                parts = [(n, gpus[gpu]) for n, gpu in enumerate(named) if gpu in left]
                left -= set(named)
                if parts:
                    shares.append(HostShare(metered, parts, len(named)))
        return tuple(shares)

    @property
    def hosted(self) -> frozenset[str]:
        """The GPUs whose hosts are measured."""
        hosts = (meter for meter, _, _ in self.covering if meter.measures == "host")
        return frozenset(gpu for meter in hosts for gpu in meter.gpu_uuids)

    def measured_pue(self) -> Decimal | None:
        """Facility energy over IT energy, at least 1; None where either is not measured."""
        facility, load = (
            sum(mj for meter, _, mj in self.covering if meter.measures == what)
            for what in ("facility", "it")
        )
        if not load or facility < load:
            return None
        ratio = ROUNDING.divide(Decimal(facility), Decimal(load))
        return ratio.quantize(PUE_STEP, ROUND_HALF_EVEN, ROUNDING)
