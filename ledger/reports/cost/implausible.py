"""Work that cannot have taken what it was said to take, as people and programs get it."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from decimal import Decimal

from ledger.domain.cost.plausible import ImplausibleWork
from ledger.domain.money import ROUNDING
from ledger.domain.period import HOUR, WINDOW
from ledger.wire.units import MJ_PER_J


def as_finding(each: ImplausibleWork) -> dict[str, object]:
    """It beside what was noticed about meters."""
    return {
        "gpu_uuid": None,
        "deployment_id": each.deployment_id,
        "reason": each.reason,
        "meaning": meaning_of(each),
        "windows": each.hours * (HOUR // WINDOW),
        "first_window": each.first_hour,
        "last_window": each.last_hour + timedelta(minutes=45),
    }


def meaning_of(each: ImplausibleWork) -> str:
    """What it took, and what it could have taken."""
    took, low, high = (
        _joules(energy_mj, each.output) for energy_mj in (each.device_mj, each.low_mj, each.high_mj)
    )
    return (
        f"{took} J an output token, where {each.model} can take {low} to {high}: a meter, a unit or"
        " a count of tokens is wrong, and what it cost is in doubt"
    )


def to_lines(items: Sequence[ImplausibleWork]) -> Iterator[str]:
    """A line for each."""
    for each in items:
        yield (
            f"Implausible: deployment {each.deployment_id} in {each.hours:,} hours from"
            f" {each.first_hour:%Y-%m-%dT%H:%MZ} to {each.last_hour + HOUR:%Y-%m-%dT%H:%MZ}:"
            f" {meaning_of(each)}"
        )


def _joules(energy_mj: int, output: int) -> str:
    """Joules of an output token, to the millijoule."""
    return f"{ROUNDING.divide(Decimal(energy_mj), Decimal(output * MJ_PER_J)):.3f}"
