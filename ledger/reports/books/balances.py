"""The trial balance: every account before a period, what the period moved, and by its end."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ledger.domain.errors import InvalidInputError, NotFoundError
from ledger.domain.money import EXACT, plain
from ledger.reports.report import (
    Asked,
    PeriodReport,
    ReportOption,
    ReportScope,
    ReportTable,
    ScopedReport,
    Shown,
)
from ledger.store.books.balances import Balance, find_balances
from ledger.store.connect import CutOff, find_cut_off
from ledger.store.queries import Connection
from ledger.wire.balance_answers import Balances as BalancesAnswer


@dataclass(frozen=True, slots=True)
class BalancesReport(ScopedReport):
    """Accounts of an entity, of what is booked for before `since` and for before `until`, as known
    at a cut-off."""

    accounts: Sequence[Balance]


async def _read(connection: Connection, scope: ReportScope, asked: Asked) -> BalancesReport:
    cut_off = await _cut_off(connection, asked.options["cut_off"]) or scope["cut_off"]
    entity_id, since, until = scope["entity_id"], scope["since"], scope["until"]
    accounts = await find_balances(
        connection, entity_id=entity_id, since=since, until=until, batch_seq=cut_off.batch_seq
    )
    return BalancesReport(entity_id, since, until, cut_off, accounts)


async def _cut_off(connection: Connection, named: str) -> CutOff | None:
    if not named:
        return None
    if not (named.isascii() and named.isdigit() and len(named) < 19):
        raise InvalidInputError(
            f"cut_off: found {named[:40]!r}.", "Send the cut_off_id of an answer.", "cut_off"
        )
    cut_off = await find_cut_off(connection, int(named))
    if cut_off is None:
        raise NotFoundError(f"There is no cut-off {named}.")
    return cut_off


def _to_json(report: BalancesReport) -> Mapping[str, object]:
    return {
        **report.of_what(),
        "accounts": [
            {
                "account": each.account,
                "name": each.name,
                "type": each.type,
                "currency": each.currency,
                "opening": plain(each.opening),
                "moved": plain(EXACT.subtract(each.closing, each.opening)),
                "closing": plain(each.closing),
            }
            for each in report.accounts
        ],
    }


def _show(report: BalancesReport, _: Asked) -> Iterator[Shown]:
    columns = ("account", "name", "currency", "opening", "moved", "closing")
    rows = [
        (
            *(each.account, each.name, each.currency, plain(each.opening)),
            *(plain(EXACT.subtract(each.closing, each.opening)), plain(each.closing)),
        )
        for each in report.accounts
    ]
    yield ReportTable(
        "Balances", columns, rows, numbers=3, first=("account", "currency", "closing")
    )


BALANCES = PeriodReport(
    "balances",
    "/v1/balances",
    "What stands on each account of the journal before a period and by its end, by when entries are"
    " booked for, and as known at a cut-off: debit positive.",
    BalancesAnswer,
    _read,
    _to_json,
    _show,
    (
        ReportOption(
            "cut_off",
            "",
            "As known at the cut-off that an earlier answer named; else as known now.",
        ),
    ),
)
