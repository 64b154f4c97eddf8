"""Charges put in, changed or taken away one by one: a row of one is as good as one of many."""

from ledger.store.queries import Connection

INSERT = """
INSERT INTO charge_day (customer_id, day_start, cut_off_id, batch_seq, entity_id, subscription_id,
                        payer_id, currency, unpriced, usage_key_id, meter, price_id, quantity,
                        amount)
SELECT customer_id, day_start, cut_off_id, batch_seq, entity_id, subscription_id, payer_id,
       currency, unpriced,
       ARRAY[usage_key_id], ARRAY[meter], ARRAY[price_id], ARRAY[quantity],
       CASE WHEN unpriced IS NULL THEN ARRAY[amount] END
  FROM """


def on_charges(sql: str) -> str:
    """A statement that changes `charge` as if it were a table, made one that can."""
    return f"""
        CREATE TEMPORARY TABLE charge AS SELECT * FROM public.charge;
        {sql};
        DELETE FROM charge_day;
        {INSERT} pg_temp.charge;
        DROP TABLE pg_temp.charge"""


async def change_charges(superuser: Connection, sql: str) -> None:
    """Change charges by a statement that names them as a table."""
    async with superuser.transaction():
        await superuser.execute(on_charges(sql))
