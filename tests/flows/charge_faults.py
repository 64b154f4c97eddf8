"""Faults of charges and days, and rows that name what is not there: check finds them all."""

CHARGES = {
    "requests of a day were changed": (
        "UPDATE usage_day SET requests = requests + 1 WHERE day_start < '2023-11-17Z'",
        ("usage_day", "acme", "requests", "*", "*"),
    ),
    "what a day lacks was made up": (
        "UPDATE usage_day SET estimated = 1",
        ("usage_day", "acme", "estimated", "0", "*"),
    ),
    "a charge is gone": (
        "DELETE FROM charge WHERE meter = 'output_visible'",
        ("charge", "acme llama standard output_visible", "quantity", "245896", "0"),
    ),
    "a charge was made up": (
        """INSERT INTO charge
           SELECT 'acme', usage_key_id, day_start + interval '1 day', meter, cut_off_id,
                  batch_seq, entity_id, subscription_id, NULL, 9, price_id, currency, 0.00009, NULL
             FROM charge WHERE quantity = 18059981""",
        ("charge", "acme llama standard input_uncached", "quantity", "0", "9"),
    ),
    "a quantity was changed": (
        "UPDATE charge SET quantity = quantity + 1, amount = amount + 0.000006"
        " WHERE quantity = 18059981",
        ("charge", "acme llama standard input_uncached", "quantity", "18059981", "18059982"),
    ),
}
NAMES_NOTHING = {
    "a posting is of no entry": (
        "UPDATE posting SET entry_id = 4711 WHERE entry_id = (SELECT min(entry_id) FROM posting)",
        ("journal_entry", "entry 4711 line 1", "entry_id", "one that is there", "4711"),
    ),
    "a posting is on no account": (
        "UPDATE posting SET account = '9999' WHERE account = '1000'",
        ("journal_entry", "*", "account", "one of the chart", "9999"),
    ),
    "an entry is of no entity": (
        "UPDATE journal_entry SET entity_id = 'nobody'"
        " WHERE entry_id = (SELECT max(entry_id) FROM journal_entry)",
        ("journal_entry", "*", "entity_id", "one that is there", "nobody"),
    ),
    "an entry is of no customer": (
        "UPDATE journal_entry SET customer_id = 'nobody' WHERE customer_id IS NOT NULL",
        ("journal_entry", "*", "customer_id", "one that is there", "nobody"),
    ),
    "an entry is of no cut-off": (
        "UPDATE journal_entry SET cut_off_id = 4711"
        " WHERE entry_id = (SELECT max(entry_id) FROM journal_entry)",
        ("journal_entry", "*", "cut_off_id", "one that is there", "4711"),
    ),
    "an invoice is of no entity": (
        "UPDATE invoice SET entity_id = 'nobody' WHERE invoice_id = 1",
        ("invoice", "*", "entity_id", "one that is there", "nobody"),
    ),
    "an invoice is of no customer": (
        "UPDATE invoice SET customer_id = 'nobody' WHERE invoice_id = 1",
        ("invoice", "*", "customer_id", "one that is there", "nobody"),
    ),
    "an invoice is of no cut-off": (
        "UPDATE invoice SET cut_off_id = 4711 WHERE invoice_id = 1",
        ("invoice", "*", "cut_off_id", "one that is there", "4711"),
    ),
    "a line is of no invoice": (
        "UPDATE invoice_line SET invoice_id = 4711 WHERE invoice_id = 1",
        ("invoice_line", "line 1", "invoice_id", "one that is there", "4711"),
    ),
    "a line is of no price": (
        "UPDATE invoice_line SET price_id = 4711",
        ("invoice_line", "*", "price_id", "one that is there", "4711"),
    ),
    "a tax is of no invoice": (
        "UPDATE invoice_tax SET invoice_id = 4711 WHERE invoice_id = 1",
        ("invoice_tax", "tax 1", "invoice_id", "one that is there", "4711"),
    ),
}
