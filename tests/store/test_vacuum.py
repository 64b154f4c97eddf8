"""What is only appended to is vacuumed soon, without which BRIN leads to no page that is new."""

from datetime import date

from ledger.store.metering.ingest import ensure_partitions
from ledger.store.queries import Connection

SEARCHED = """
    SELECT t.relname, coalesce(t.reloptions, '{}') AS options
      FROM pg_index i
      JOIN pg_class x ON x.oid = i.indexrelid
      JOIN pg_am m ON m.oid = x.relam AND m.amname = 'brin'
      JOIN pg_class t ON t.oid = i.indrelid AND t.relkind = 'r'
"""


async def test_no_table_waits_until_a_fifth_of_it_is_new(worker: Connection) -> None:
    await ensure_partitions(worker, date(2031, 5, 1), days=1)
    options = {row["relname"]: set(row["options"]) for row in await worker.fetch(SEARCHED)}
    assert {"usage_delta", "activity", "gpu_reading_20310501", "usage_fact_20310501"} <= set(
        options
    )
    soon = {"autovacuum_vacuum_insert_scale_factor=0", "autovacuum_vacuum_insert_threshold=100000"}
    assert {name for name, said in options.items() if not soon <= said} == set()
