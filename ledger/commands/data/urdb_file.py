"""A utility rate of OpenEI's database (URDB) into prices by time of use and costs of the month.

It names neither zone nor holidays: hours are local hours of the site, and weekends are Saturday and
Sunday. Its dates are read as days.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import TypeAlias

from pydantic import BaseModel, ConfigDict, ValidationError

from ledger.commands.data.rows import read_bytes
from ledger.domain.errors import InvalidInputError
from ledger.domain.money import plain
from ledger.wire.problems import list_problems
from ledger.wire.strict_json import load_json

# What changes the amount and has no rule here: a rate that has one is refused by its name.
_UNSUPPORTED = frozenset(
    {
        *("demandratchetpercentage", "lookbackpercent", "fueladjustmentsmonthly"),
        *("demandreactivepowercharge", "coincidentratestructure", "minmonthlycharge"),
        *("annualmincharge", "fixedchargeeaaddl", "mincharge"),
    }
)
Terms: TypeAlias = Mapping[str, object]


class UrdbTier(BaseModel):
    """A price of a kWh or kW as a file says it: the rate and its adjustment."""

    rate: Decimal
    adj: Decimal = Decimal(0)
    max: Decimal | None = None
    unit: str | None = None

    def terms(self, name: str, unit: str) -> Terms:
        """As the ledger has it; InvalidInputError where it is of another unit."""
        _check_unit(name, self.unit, unit)
        ends = {} if self.max is None else {"up_to": plain(self.max)}
        return {"price": plain(self.rate + self.adj), **ends}


Structure: TypeAlias = list[list[UrdbTier]]
Schedule: TypeAlias = list[list[int]]


class UrdbRate(BaseModel):
    """What of a rate is read; its names are those of the database."""

    model_config = ConfigDict(extra="ignore")

    startdate: int | None = None
    enddate: int | None = None
    energyratestructure: Structure
    energyweekdayschedule: Schedule
    energyweekendschedule: Schedule
    demandratestructure: Structure | None = None
    demandweekdayschedule: Schedule | None = None
    demandweekendschedule: Schedule | None = None
    demandrateunit: str | None = None
    demandwindow: int = 15
    flatdemandstructure: Structure | None = None
    flatdemandmonths: list[int] | None = None
    flatdemandunit: str | None = None
    fixedmonthlycharge: Decimal | None = None
    fixedchargefirstmeter: Decimal | None = None
    fixedchargeunits: str = "$/month"

    @property
    def first_day(self) -> date | None:
        """The day it holds from; None where it does not say."""
        return _day(self.startdate)

    @property
    def end_day(self) -> date | None:
        """The day before which it ends; None where it does not say."""
        return _day(self.enddate)

    def time_of_use(self, since: date, until: date) -> Terms:
        """Prices of its first tiers, by time of use."""
        rates = _rates("energyratestructure", self.energyratestructure, "kWh")
        return {
            "since": since.isoformat(),
            "until": until.isoformat(),
            "prices_per_kwh": [tiers[0]["price"] for tiers in rates],
            "weekday": self.energyweekdayschedule,
            "weekend": self.energyweekendschedule,
        }

    def site_costs(self) -> Iterator[tuple[str, Terms]]:
        """Name and rule of what it charges beside energy at its first tier."""
        if any(len(tiers) > 1 for tiers in self.energyratestructure):
            rates = _rates("energyratestructure", self.energyratestructure, "kWh")
            hours = {
                "weekday": self.energyweekdayschedule,
                "weekend": self.energyweekendschedule,
            }
            yield "energy tiers", {"tiers": {"rates": rates, **hours}}
        if self.demandratestructure:
            yield "demand", {"demand": self._demand(self.demandratestructure)}
        if self.flatdemandstructure:
            yield "flat demand", {"demand": self._flat_demand(self.flatdemandstructure)}
        if self.fixedmonthlycharge:
            yield "fixed charge", _standing(self.fixedmonthlycharge, "month")
        elif self.fixedchargefirstmeter:
            yield "fixed charge", _standing(self.fixedchargefirstmeter, self._fixed_unit())

    def _demand(self, structure: Structure) -> Terms:
        _check_unit("demandrateunit", self.demandrateunit, "kW")
        if self.demandweekdayschedule is None or self.demandweekendschedule is None:
            raise InvalidInputError(
                "The rate does not say when which demand rate holds.",
                "Mend the file: it has demandratestructure without a schedule.",
                "demandweekdayschedule",
            )
        return {
            "rates": _rates("demandratestructure", structure, "kW"),
            "weekday": self.demandweekdayschedule,
            "weekend": self.demandweekendschedule,
            "window_minutes": self.demandwindow,
        }

    def _flat_demand(self, structure: Structure) -> Terms:
        _check_unit("flatdemandunit", self.flatdemandunit, "kW")
        if self.flatdemandmonths is None:
            raise InvalidInputError(
                "flatdemandmonths does not name a rate for each month.",
                "Mend the file: a demand charge is of a month.",
                "flatdemandmonths",
            )
        schedule = [[number] * 24 for number in self.flatdemandmonths]
        return {
            "rates": _rates("flatdemandstructure", structure, "kW"),
            "weekday": schedule,
            "weekend": schedule,
            "window_minutes": self.demandwindow,
        }

    def _fixed_unit(self) -> str:
        unit = {"$/month": "month", "$/day": "day"}.get(self.fixedchargeunits)
        if unit is None:
            raise InvalidInputError(
                f"The fixed charge is in {self.fixedchargeunits}.",
                "Only charges by month or day can be read.",
                "fixedchargeunits",
            )
        return unit


def read_urdb(path: Path) -> UrdbRate:
    """The one rate of a file; InvalidInputError names what of it cannot be read."""
    try:
        said = load_json(read_bytes(path), parse_float=Decimal)
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(f"{path.name} is no JSON: {error}.", "Name a URDB file.") from error
    names = said if isinstance(said, dict) else {}
    held = [name for name in names if name.casefold() in _UNSUPPORTED and _is_any(names[name])]
    if held:
        raise InvalidInputError(
            f"{path.name} has {', '.join(held)}, for which there is no rule.",
            "Enter the tariff's prices and costs by hand, or take these out of the file.",
            held[0],
        )
    try:
        return UrdbRate.model_validate(said)
    except ValidationError as error:
        problems = "; ".join(f"{each}" for each in list_problems(error)[:3])
        raise InvalidInputError(f"{path.name} is no rate of URDB: {problems}.") from error


def _is_any(value: object) -> bool:
    """Whether a number, or any of a list, is not 0."""
    return any(map(_is_any, value)) if isinstance(value, list) else bool(value)


def _check_unit(name: str, said: str | None, unit: str) -> None:
    if (said or unit).casefold() != unit.casefold():
        raise InvalidInputError(
            f"{name} is by {said}.", f"Only rates by {unit} of a month can be read.", name
        )


def _day(seconds: int | None) -> date | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).date()


def _rates(name: str, structure: Structure, unit: str) -> Sequence[Sequence[Terms]]:
    return [[tier.terms(name, unit) for tier in tiers] for tiers in structure]


def _standing(amount: Decimal, per: str) -> Terms:
    return {"standing": {"amount": plain(amount), "per": per}}
