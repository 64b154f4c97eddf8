"""Usage of many customers over many windows, made on the server, for reports of any size."""

from datetime import UTC, datetime, timedelta

import asyncpg

from tests.support.database import Database

START = datetime(2026, 7, 1, tzinfo=UTC)
KEYS = 400
MAKE = """
DO $$ BEGIN
  PERFORM set_config('session_replication_role', 'replica', true);
  INSERT INTO entity (entity_id, currency, zone, invoice_prefix, batch_seq)
    VALUES ('wide', 'EUR', 'UTC', 'W', 1);
  INSERT INTO entity_detail (entity_id, name, valid, recorded)
    VALUES ('wide', 'Wide', '[2020-01-01 00:00+00,)', '[1,)');
  INSERT INTO customer (customer_id, entity_id, batch_seq)
    SELECT format('c-%s', n), 'wide', 1 FROM generate_series(1, {keys}) n;
  INSERT INTO usage_key (usage_key_id, entity_id, customer_id, customer_ref, tier, model, agent_id)
    SELECT n, 'wide', format('c-%s', n), format('c-%s', n), 'standard', 'm', format('=agent %s', n)
      FROM generate_series(1, {keys}) n;
  PERFORM setval('batch_seq', 1);
  INSERT INTO usage_delta (customer_id, usage_key_id, window_start, batch_seq, requests, uncached,
                           cache_read, cache_write, visible, reasoning)
    SELECT format('c-%s', n), n, '{start}'::timestamptz + w * interval '15 minutes', 1,
           1, n, 0, 0, w, 0
      FROM generate_series(0, {windows} - 1) w, generate_series(1, {keys}) n;
END $$;
"""


async def make_wide(database: Database, windows: int) -> None:
    """KEYS customers, each with usage in so many windows from START."""
    connection = await asyncpg.connect(database.superuser_url)
    try:
        await connection.execute(MAKE.format(keys=KEYS, windows=windows, start=START.isoformat()))
        await connection.execute("ANALYZE")
    finally:
        await connection.close()


def period(windows: int) -> str:
    """The query of a request for all of it."""
    until = START + timedelta(minutes=15 * windows)
    return f"since={START:%Y-%m-%dT%H:%M:%SZ}&until={until:%Y-%m-%dT%H:%M:%SZ}"
