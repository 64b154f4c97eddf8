"""A reservation costs the same however many models its card has: imported ones have thousands."""

from ledger.store.queries import Connection, Query
from tests.support.plans import explain
from tests.support.usage import NOW, open_books

MODELS = 2_000
ADD = """
INSERT INTO rate_card_price (rate_card_id, meter, model, kind, params, valid, recorded)
SELECT 'card', meter, nullif('vendor/model-' || n, 'vendor/model-0'), 'per_unit',
       '{"amount": "2", "per": 1}', '[2026-01-01 00:00Z,)', '[1,)'
  FROM generate_series(0, $1::int) AS n,
       unnest('{input_uncached,output_visible}'::text[]) AS meter"""
ASKED = """
SELECT meter, each_amount
  FROM unit_amounts('card', $1::text, 'standard', '', '', '', '', '{0}', $2::timestamptz)"""


async def test_a_price_is_found_among_thousands_by_reading_few(
    worker: Connection, owner: Connection
) -> None:
    await open_books(worker)
    await worker.execute("INSERT INTO rate_card VALUES ('card', 'factory', 'List', 'EUR', 1)")
    await worker.execute(ADD, MODELS)
    await owner.execute("ANALYZE rate_card_price")
    query = Query("unit_amounts", ASKED, ("model", "at"))
    for generic in (False, True):
        plan = await explain(worker, query, generic=generic, model="vendor/model-77", at=NOW)
        assert plan.rows == 2
        # Its own prices, and those of every model.
        assert plan.read_rows("rate_card_price") == {"rate_card_price": 4}
