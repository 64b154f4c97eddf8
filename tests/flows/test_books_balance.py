"""Whatever happens, in whatever order, the books balance and tie to charges and invoices."""

import random
from datetime import timedelta
from decimal import Decimal

import pytest

from ledger.domain.errors import LedgerError
from ledger.flows.billing.invoice import issue_invoice
from ledger.flows.billing.issue import IssueRules
from ledger.flows.reference.enter import enter_price
from ledger.store.books.balances import sum_accounts
from ledger.store.connect import draw_cut_off
from ledger.store.queries import Connection
from ledger.wire.inputs import read_input
from ledger.wire.price_inputs import NewPrice
from tests.flows.billing import AUTHOR, NOVEMBER, NOW, balance_of, settled, subscribed
from tests.support.books import Books, Tokens

ANYTHING = IssueRules(unpriced=True, open_period=True, supplementary=True)


async def act(books: Books, chance: random.Random) -> None:
    """One random thing that happens in a factory; what the ledger refuses did not happen."""
    window = NOVEMBER + chance.randrange(8) * timedelta(minutes=15)
    kind = chance.choice(["usage", "usage", "price", "settle", "invoice"])
    if kind == "usage":
        tokens = Tokens(uncached=chance.randrange(10**6), output=chance.randrange(10**6))
        await books.usage(window, tokens)
    elif kind == "price":
        terms = {
            "rate_card_id": "card-acme",
            "meter": chance.choice(["input", "output"]),
            "amount": str(chance.randrange(1, 999)),
            "valid_from": window.isoformat(),
        }
        await enter_price(books.connection, read_input(NewPrice, terms), AUTHOR, replace=True)
    elif kind == "settle":
        await settled(books.connection)
    else:
        await issue_invoice(
            books.connection,
            subscription_id="sub-acme",
            moment=NOVEMBER,
            now=NOW,
            author=AUTHOR,
            allow=ANYTHING,
        )


@pytest.mark.parametrize("seed", range(4))
async def test_the_trial_balance_is_zero_after_every_step(worker: Connection, seed: int) -> None:
    chance = random.Random(seed)
    books = await subscribed(worker)
    for _ in range(25):
        try:
            await act(books, chance)
        except LedgerError:
            continue
        cut_off = await draw_cut_off(worker, "trial balance")
        accounts = await sum_accounts(worker, entity_id="factory", batch_seq=cut_off.batch_seq)
        assert sum((balance.closing for balance in accounts), Decimal(0)) == 0
    await settled(worker)
    charged = await worker.fetchval("SELECT coalesce(sum(amount), 0) FROM charge")
    invoiced = await worker.fetchrow(
        """SELECT coalesce(sum(exact_total), 0) AS exact, coalesce(sum(payable), 0) AS payable,
                  count(*) AS issued FROM invoice"""
    )
    assert invoiced is not None
    assert invoiced["issued"] > 0
    assert await balance_of(worker, "4000") == -charged
    assert await balance_of(worker, "1150") == charged - invoiced["exact"]
    owed = await balance_of(worker, "1100") + await balance_of(worker, "2400")
    assert owed == invoiced["payable"]
    assert await balance_of(worker, "6100") == invoiced["exact"] - invoiced["payable"]
