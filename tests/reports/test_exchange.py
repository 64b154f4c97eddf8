"""Amounts in another currency, by the last rate published on or before the day."""

from datetime import date
from decimal import Decimal

import pytest

from ledger.domain.exchange import CARRIED_DAYS, Conversion
from ledger.domain.money import round_minor
from ledger.store.connect import draw_cut_off
from ledger.store.cost.margin import find_fx_rates
from ledger.store.queries import Connection
from tests.support.books import Books

# What the ECB published before and after Easter of 2024, for one euro.
PUBLISHED = {
    date(2024, 3, 27): {"USD": "1.0816", "JPY": "163.52", "DKK": "7.4582", "HUF": "395.40"},
    date(2024, 3, 28): {"USD": "1.0811", "JPY": "163.45", "DKK": "7.4580", "HUF": "395.26"},
    date(2024, 4, 2): {"USD": "1.0749", "JPY": "163.01", "DKK": "7.4582", "HUF": "395.63"},
}
ISK = {date(2024, 3, 27): "149.90", date(2024, 3, 28): "150.30", date(2024, 4, 2): "150.10"}
EASTER_SUNDAY = date(2024, 3, 31)


@pytest.mark.parametrize(
    ("base", "amount", "quote", "expected"),
    [
        ("EUR", "1234.56", "USD", "1334.68"),
        ("EUR", "1234.56", "JPY", "201789"),
        ("EUR", "1234.56", "DKK", "9207.35"),
        ("EUR", "1234.56", "HUF", "487972.19"),
        ("EUR", "1234.56", "ISK", "185554"),
        ("USD", "1000", "DKK", "6898.53"),
    ],
)
async def test_a_sunday_is_converted_by_the_rate_of_thursday(
    worker: Connection, base: str, amount: str, quote: str, expected: str
) -> None:
    books = Books(worker)
    for day, rates in PUBLISHED.items():
        for currency, value in {**rates, "ISK": ISK[day]}.items():
            await books.fx("EUR", currency, day, value)
    cut_off = await draw_cut_off(worker, "test")
    (rate,) = await find_fx_rates(
        worker,
        asked=[(base, EASTER_SUNDAY)],
        quote=quote,
        carried_days=CARRIED_DAYS,
        batch_seq=cut_off.batch_seq,
    )
    assert rate.published == date(2024, 3, 28)
    conversion = Conversion(base, quote, rate.published, rate.multiplier, rate.divisor, rate.source)
    assert round_minor(conversion.of(Decimal(amount)), quote) == Decimal(expected)
