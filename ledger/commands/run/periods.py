"""Options that say over which period and of which entity, read in the entity's own zone."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from functools import wraps
from typing import Any

import click

from ledger.domain.errors import InvalidInputError, MissingInputError, NotFoundError
from ledger.domain.period import Period, describe_days, midnight, month_of, month_start, zone
from ledger.store.parties import find_entity, list_entities
from ledger.store.queries import Connection
from ledger.wire.errors import Rfc3339Error
from ledger.wire.input_fields import FIRST_DAY, LAST_DAY
from ledger.wire.rfc3339 import parse_rfc3339, with_seconds


@dataclass(frozen=True, slots=True)
class AskedPeriod:
    """What was asked for: an entity (None: the only one), and a month or two ends."""

    entity: str | None
    month: str | None
    since: str | None
    until: str | None


@dataclass(frozen=True, slots=True)
class Scope:
    """The answer: an entity, its zone, and a period in UTC."""

    entity_id: str
    zone: str
    since: datetime
    until: datetime


def period_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command `--entity`, `--month`, `--from` and `--to`, and its `asked` argument."""

    @wraps(command)
    def wrapped(*args: Any, **given: Any) -> Any:
        names = ("entity", "month", "since", "until")
        asked = AskedPeriod(**{name: given.pop(name) for name in names})
        return command(*args, asked=asked, **given)

    for decorate in (
        click.option("--to", "until", help="End, excluded: a day or a time."),
        click.option("--from", "since", help="Start: a day in the entity's zone, or a time."),
        click.option("--month", help="A month in the entity's zone, like 2024-10."),
        click.option("--entity", help="The entity; may be left out where there is one only."),
    ):
        wrapped = decorate(wrapped)
    return wrapped


async def find_scope(
    connection: Connection,
    asked: AskedPeriod,
    now: datetime,
    usual: Callable[[datetime, str], Period] = month_of,
) -> Scope:
    """The entity and the period; the usual one where nothing was said."""
    entity_id, zone_name = await find_asked_entity(connection, asked.entity)
    if asked.month is not None and (asked.since or asked.until):
        raise InvalidInputError("A month and a period were given.", "Give one of them.", "month")
    if asked.month is not None:
        since, until = _month(asked.month, zone_name)
    elif asked.since is None and asked.until is None:
        period = usual(now, zone_name)
        since, until = period.start, period.end
    else:
        if asked.since is None or asked.until is None:
            raise InvalidInputError("One end of the period is missing.", "Give --from and --to.")
        since, until = read_start(asked.since, zone_name), read_start(asked.until, zone_name)
    if since >= until:
        raise InvalidInputError(
            f"The period {since} to {until} is empty.", "Give an end after its start."
        )
    return Scope(entity_id, zone_name, since, until)


def describe(what: str, scope: Scope) -> str:
    """What is shown, of whom and when, as a title."""
    days = describe_days(Period(scope.since, scope.until), scope.zone)
    return f"{what} of {scope.entity_id}, {days} ({scope.zone})"


async def find_asked_entity(connection: Connection, asked: str | None) -> tuple[str, str]:
    """The id and the zone of the entity that was named, or of the only one there is."""
    if asked is not None:
        entity = await find_entity(connection, asked)
        if entity is None:
            raise NotFoundError(f"There is no entity {asked}.", "Enter it, or look at its id.")
        return asked, entity.zone
    every = await list_entities(connection)
    if not every:
        raise MissingInputError(
            "There is no entity.", "Enter one: tokenledger import entities FILE."
        )
    if len(every) > 1:
        names = ", ".join(each.entity_id for each in every)
        raise InvalidInputError(f"There are several entities: {names}.", "Name one: --entity.")
    return every[0].entity_id, every[0].zone


def _month(text: str, zone_name: str) -> tuple[datetime, datetime]:
    try:
        first = date.fromisoformat(f"{text}-01")
    except ValueError:
        raise InvalidInputError(f"{text!r} is no month.", "Write it like 2024-10.") from None
    check_day(first)
    start = month_start(first.year, first.month, 1, zone_name)
    return start, month_start(first.year, first.month + 1, 1, zone_name)


def read_start(text: str, zone_name: str) -> datetime:
    """A time, or the first moment of a day, in a zone."""
    moment = read_moment(text, zone_name)
    return moment if isinstance(moment, datetime) else midnight(moment, zone_name)


def read_moment(text: str, zone_name: str | None) -> datetime | date:
    """A day, or a time: in a zone where it has no offset; InvalidInputError says what is wrong."""
    try:
        return check_day(date.fromisoformat(text))
    except ValueError:
        pass
    try:
        moment = parse_rfc3339(with_seconds(text), zone=zone(zone_name) if zone_name else None)
    except Rfc3339Error as error:
        raise InvalidInputError(f"{error}.", "Or give a day like 2024-10-27.") from None
    check_day(moment.date())
    return moment


def check_day(day: date) -> date:
    """The day itself; InvalidInputError where no books reach."""
    if not FIRST_DAY <= day <= LAST_DAY:
        raise InvalidInputError(
            f"{day} is outside {FIRST_DAY} to {LAST_DAY}.", "Give a day the books can hold."
        )
    return day
