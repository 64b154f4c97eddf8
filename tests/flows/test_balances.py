"""Balances at any moment and cut-off, carried forward, against a plain sum over every posting."""

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.domain.books.carried import FAN, JournalStretch, carried_forward, cut
from ledger.domain.books.journal import JournalEntry, Posting
from ledger.flows.books.carry import carrying
from ledger.store.books.balances import find_balances, find_chain, sum_accounts
from ledger.store.books.journal import add_to_entries
from ledger.store.connect import CutOff, draw_batch_seq, draw_cut_off
from ledger.store.queries import Connection
from tests.support.usage import open_books

MAY = datetime(2026, 5, 1, tzinfo=UTC)
NOW = datetime(2026, 6, 1, tzinfo=UTC)
ACCOUNTS = ("1000", "1100", "1150", "4000")

batches = st.lists(st.tuples(st.integers(1, 3), st.integers(1, 40)), max_size=120).map(
    lambda steps: [
        (sum(step for step, _ in steps[: n + 1]), count) for n, (_, count) in enumerate(steps)
    ]
)


@given(batches, st.integers(1, 60), st.integers(1, 30))
def test_stretches_follow_one_another_however_often_they_are_cut(
    batches: Sequence[tuple[int, int]], least: int, at_once: int
) -> None:
    added: list[JournalStretch] = []
    chain: list[JournalStretch] = []
    for first in range(0, len(batches), at_once):
        since = chain[-1].until_seq if chain else 0
        known = [each for each in batches[: first + at_once] if each[0] > since]
        added += carried_forward(chain, cut(since, known, least))
        chain = _longest(added)
    assert [each.until_seq for each in chain[:-1]] == [each.since_seq for each in chain[1:]]
    assert all(each.since_seq == 0 for each in chain[:1])
    levels = [each.level for each in chain]
    assert levels == sorted(levels, reverse=True)
    assert all(levels.count(level) < FAN for level in levels)
    carried = chain[-1].until_seq if chain else 0
    assert sum(count for seq, count in batches if seq > carried) < least


def _longest(added: Sequence[JournalStretch]) -> list[JournalStretch]:
    chain: list[JournalStretch] = []
    at = 0
    while following := [each for each in added if each.since_seq == at]:
        chain.append(max(following, key=lambda each: each.until_seq))
        at = chain[-1].until_seq
    return chain


async def _book(connection: Connection, chance: random.Random, number: int) -> None:
    """A batch of entries, booked for any moment of a month, some of them the same."""
    entries = []
    for each in range(chance.randrange(1, 4)):
        amount = Decimal(chance.randrange(-(10**9), 10**9)).scaleb(-6) or Decimal(1)
        debit, credit = chance.sample(ACCOUNTS, 2)
        currency = chance.choice(("EUR", "EUR", "USD"))
        entries.append(
            JournalEntry(
                entity_id="factory",
                kind="test",
                natural_key=f"{number}:{each}",
                booked_for=MAY + timedelta(minutes=5 * chance.randrange(31 * 24 * 12)),
                description="Anything",
                postings=(Posting(debit, amount, currency), Posting(credit, -amount, currency)),
            )
        )
    async with connection.transaction():
        batch_seq = await draw_batch_seq(connection)
        cut_off = await draw_cut_off(connection, "test")
        await add_to_entries(connection, entries, cut_off, batch_seq)


async def _plain(
    connection: Connection, until: datetime, batch_seq: int
) -> dict[tuple[str, str], Decimal]:
    rows = await connection.fetch(
        """SELECT p.account, p.currency, sum(p.amount) AS amount
             FROM journal_entry e JOIN posting p USING (entry_id)
            WHERE e.entity_id = 'factory' AND e.booked_for < $1 AND e.batch_seq <= $2
            GROUP BY 1, 2 HAVING sum(p.amount) <> 0""",
        until,
        batch_seq,
    )
    return {(row["account"], row["currency"]): row["amount"] for row in rows}


@pytest.mark.parametrize("least", [1, 5])
async def test_any_balance_is_the_sum_of_its_postings(worker: Connection, least: int) -> None:
    chance = random.Random(least)
    await open_books(worker)
    drawn: list[CutOff] = []
    for number in range(160):
        await _book(worker, chance, number)
        if number % 7 == 0:
            drawn.append(await draw_cut_off(worker, "test"))
        if number in (3, 40, 41, 150):
            await carrying(least)(worker, now=NOW)
    drawn.append(await draw_cut_off(worker, "test"))
    chain = await find_chain(worker, entity_id="factory", batch_seq=drawn[-1].batch_seq)
    assert {each.level for each in chain} >= ({0, 1, 2} if least == 1 else {0, 1})
    for cut_off in chance.sample(drawn, 12):
        ends = sorted(MAY + timedelta(minutes=chance.randrange(31 * 24 * 60)) for _ in range(2))
        ends[0] -= timedelta(minutes=ends[0].minute % 15)
        found = await find_balances(
            worker,
            entity_id="factory",
            since=ends[0],
            until=ends[1],
            batch_seq=cut_off.batch_seq,
        )
        opening = {(one.account, one.currency): one.opening for one in found if one.opening}
        closing = {(one.account, one.currency): one.closing for one in found if one.closing}
        assert opening == await _plain(worker, ends[0], cut_off.batch_seq)
        assert closing == await _plain(worker, ends[1], cut_off.batch_seq)
    summed = await sum_accounts(worker, entity_id="factory", batch_seq=drawn[-1].batch_seq)
    every = {(one.account, one.currency): one.closing for one in summed if one.closing}
    assert every == await _plain(worker, NOW, drawn[-1].batch_seq)
    assert (await carrying(least)(worker, now=NOW)).rows_written > 0
    assert (await carrying(least)(worker, now=NOW)).rows_written == 0
    summed = await sum_accounts(worker, entity_id="factory", batch_seq=drawn[-1].batch_seq)
    assert every == {(one.account, one.currency): one.closing for one in summed if one.closing}
