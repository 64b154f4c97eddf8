"""What somebody may do to costs, journal and invoices, and what a check must say of it."""

# What somebody did, and each proof that must say so: table, place, figure, what it must be and is.
BOOKS: dict[str, tuple[str, tuple[str, ...]]] = {
    "a cost of a site is gone": (
        "DELETE FROM site_cost",
        ("site_cost", "factory account 5300 rent USD", "amount", "0", "2"),
    ),
    "a cost of a site was changed": (
        "UPDATE site_cost SET amount = amount + 1",
        ("site_cost", "factory account 2150 USD", "amount", "-3", "-2"),
    ),
    "a cost of a site was booked under another name": (
        "UPDATE posting SET dimension = 'lunch' WHERE account = '5300'",
        ("site_cost", "factory account 5300 lunch USD", "amount", "0", "2"),
    ),
    "a bill that nobody entered is owed": (
        """UPDATE journal_entry SET kind = 'utility bill' WHERE kind = 'site cost'""",
        ("utility_bill", "factory account expenses USD", "amount", "0", "2"),
    ),
    "an amount was changed": (
        "UPDATE charge SET amount = 1 WHERE quantity = 18059981",
        ("price", "acme llama standard input_uncached", "amount", "108.359886", "1"),
    ),
    "a currency was changed": (
        "UPDATE charge SET currency = 'EUR' WHERE quantity = 18059981",
        ("price", "acme llama standard input_uncached", "currency", "USD", "EUR"),
    ),
    "a price was changed": (
        """UPDATE rate_card_price SET params = jsonb_set(params, '{amount}', '"0.5"')
            WHERE meter = 'output_visible'""",
        ("price", "acme llama standard output_visible", "amount", "0.122948", "3.68844"),
    ),
    "the price is another meter's": (
        """UPDATE charge SET price_id = p.price_id FROM rate_card_price p
            WHERE quantity = 18059981 AND p.meter = 'output_visible'""",
        ("price", "acme llama standard input_uncached", "price_id", "a price that applies", "*"),
    ),
    "revenue was booked away": (
        """DELETE FROM posting
            WHERE entry_id = (SELECT min(entry_id) FROM journal_entry WHERE kind = 'revenue')""",
        ("revenue", "factory llama standard USD", "revenue", "*", "*"),
    ),
    "electricity was booked away": (
        """UPDATE posting SET account = '5010' WHERE account = '5000'""",
        ("cost", "factory account 5000 llama standard USD", "amount", "*", "0"),
    ),
    "cost was booked to another model": (
        "UPDATE posting SET model = 'other' WHERE account = '5000' AND model = 'llama'",
        ("cost", "factory account 5000 other standard USD", "amount", "0", "*"),
    ),
    "a cost line of a key that nobody knows": (
        "UPDATE cost_share SET usage_key_id = '{7}'",
        ("cost_line", "factory deployment:chat", "usage_key_id", "one that is there", "7"),
    ),
    "a cost line of a cut-off that nobody drew": (
        "UPDATE cost_allocation SET cut_off_id = 7777 WHERE line = 'idle'",
        ("cost_line", "factory deployment:chat", "cut_off_id", "one that is there", "7777"),
    ),
    "a cost line of another entity": (
        "UPDATE cost_day_line SET entity_id = 'nobody' WHERE line = 'idle'",
        ("cost_line", "nobody deployment:chat", "entity_id", "one that is there", "nobody"),
    ),
    "a cost line of a deployment that never was": (
        "UPDATE cost_allocation SET scope = 'deployment:none' WHERE line = 'idle'",
        ("cost_line", "factory deployment:none", "scope", "one that is there", "deployment:none"),
    ),
    "a cost line was changed": (
        "UPDATE cost_share SET gpu_cost_low[1] = gpu_cost_low[1] + 1000000000000",
        ("cost", "factory account 2000 USD", "amount", "*", "*"),
    ),
    "a cost line took another's part": (
        "UPDATE cost_share SET gpu_cost_low[1] = gpu_cost_low[1] + 1000000000000",
        ("cost_share", "factory deployment:chat", "digest", "*", "*"),
    ),
    "what was allocated was changed": (
        """UPDATE cost_allocation SET gpu_cost = gpu_cost + 1, output_cost = output_cost + 1
            WHERE line = 'usage'""",
        ("cost_share", "factory deployment:chat", "gpu_cost", "*", "*"),
    ),
    "a cost line is gone": (
        "DELETE FROM cost_allocation WHERE line = 'idle'",
        ("cost", "factory account 5200 idle USD", "amount", "0", "*"),
    ),
    "a cost was made up": (
        """INSERT INTO posting SELECT entry_id, n, account, amount, 'USD', NULL, ''
             FROM (SELECT min(entry_id) AS entry_id FROM journal_entry WHERE kind = 'revenue') e,
                  (VALUES (91, '5900', 3), (92, '2000', -3)) AS p (n, account, amount)""",
        ("cost", "factory account 5900 USD", "amount", "0", "3"),
    ),
    "a receivable was made up": (
        """INSERT INTO posting SELECT entry_id, n, account, amount, 'USD', 'acme', ''
             FROM (SELECT min(entry_id) AS entry_id FROM journal_entry WHERE kind = 'cost') e,
                  (VALUES (91, '1100', 3), (92, '1150', -3)) AS p (n, account, amount)""",
        ("control", "acme account 1100 USD", "balance", "*", "*"),
    ),
    "an invoice went, and its entry with it": (
        """WITH gone AS (DELETE FROM invoice WHERE run_no = 2 RETURNING *)
           UPDATE posting SET account = '4000' FROM journal_entry e, gone g
            WHERE posting.entry_id = e.entry_id AND posting.account = '1100'
              AND e.natural_key = 'invoice:' || g.entity_id || ':' || g.number""",
        ("control", "factory account 4000 USD", "balance", "*", "*"),
    ),
    "an entry does not balance": (
        """UPDATE posting SET amount = amount + 1 WHERE line_no = 1 AND entry_id =
           (SELECT min(entry_id) FROM journal_entry WHERE kind = 'revenue')""",
        ("journal_entry", "*", "residual", "0", "1"),
    ),
    "a balance that is carried was changed": (
        """UPDATE carried_balance SET amount = amount + 3 WHERE account = '1100'
              AND until_seq = (SELECT max(until_seq) FROM journal_stretch WHERE level = 0)""",
        ("carried_balance", "*", "amount", "*", "*"),
    ),
    "a stretch of balances is gone": (
        """WITH gone AS (DELETE FROM journal_stretch WHERE level = 0 AND until_seq =
                           (SELECT min(until_seq) FROM journal_stretch) RETURNING *)
           DELETE FROM carried_balance b USING gone g
            WHERE (b.level, b.until_seq) = (g.level, g.until_seq)""",
        ("carried_balance", "*", "since_seq", "0", "*"),
    ),
    "a stretch of balances forgot a currency": (
        "UPDATE journal_stretch SET currencies = '{}'",
        ("carried_balance", "*", "currencies", "USD", ""),
    ),
    "a receivable belongs to nobody": (
        "UPDATE posting SET customer_id = NULL WHERE account = '1100'",
        ("posting", "*", "customer_id", "acme", "none"),
    ),
    "a receivable belongs to another": (
        "UPDATE posting SET customer_id = 'beta' WHERE account = '1150' AND amount < 0",
        ("posting", "*", "customer_id", "acme", "beta"),
    ),
    "an invoice asks for less": (
        "UPDATE invoice SET net_total = net_total - 1, payable = payable - 1 WHERE run_no = 1",
        ("invoice", "*", "net_total", "93.99", "92.99"),
    ),
    "an invoice lost its exact total": (
        "UPDATE invoice SET exact_total = 1 WHERE run_no = 1",
        ("invoice", "*", "exact_total", "93.98831", "1"),
    ),
    "a line is gone": (
        """DELETE FROM invoice_line
            WHERE line_no = 1 AND invoice_id = (SELECT min(invoice_id) FROM invoice)""",
        ("billed", "*", "amount", "*", "0"),
    ),
    "a line was rounded twice": (
        "UPDATE invoice_line SET amount = amount + 0.01 WHERE line_no = 1",
        ("invoice_line", "*", "amount", "*", "*"),
    ),
    "a line asks for more than its price": (
        "UPDATE invoice_line SET unit_amount = unit_amount * 2 WHERE line_no = 1",
        ("invoice_line", "*", "charged_amount", "*", "*"),
    ),
    "a line was converted by another rate": (
        "UPDATE invoice_line SET exact_amount = exact_amount + 0.000001 WHERE line_no = 1",
        ("invoice_line", "*", "exact_amount", "*", "*"),
    ),
    "tax is not its share": (
        "UPDATE invoice_tax SET amount = amount + 1",
        ("invoice_tax", "*", "amount", "*", "*"),
    ),
    "tax was left out": (
        "DELETE FROM invoice_tax",
        ("invoice", "*", "tax_total", "0", "*"),
    ),
    "tax is of less than was sold": (
        "UPDATE invoice_tax SET base = base - 1",
        ("invoice", "*", "base of tax", "*", "*"),
    ),
    "a credit note takes back more than its lines": (
        "UPDATE credit_note SET net_total = net_total + 1, payable = payable + 1",
        ("credit_note", "*", "net_total", "*", "*"),
    ),
    "a line was credited twice": (
        "UPDATE credit_note_line SET amount = amount * 100",
        ("credit_note", "*", "credited", "*", "*"),
    ),
    "a credit note is another document": (
        "UPDATE credit_note_document SET content = 'another'",
        ("credit_note", "*", "document", "*", "*"),
    ),
    "a payment pays more than it is": (
        "UPDATE payment_part SET amount = amount + 1",
        ("payment", "*", "parts", "*", "*"),
    ),
    "an invoice was paid twice": (
        """UPDATE payment_part SET amount = amount * 100;
           UPDATE payment SET amount = amount * 100 WHERE on_account = 0""",
        ("payment", "*", "paid", "*", "*"),
    ),
    "more was paid back than there was": (
        """UPDATE payment SET amount = amount + 99, on_account = on_account - 99
            WHERE kind = 'refunded'""",
        ("payment", "acme USD", "on_account", "0", "*"),
    ),
    "cash was made up": (
        "UPDATE posting SET account = '1000' WHERE account = '1100' AND amount < 0",
        ("control", "acme account 1000 USD", "balance", "*", "*"),
    ),
    "a line bills other usage than was charged": (
        """UPDATE invoice_line SET quantity = quantity * 2, exact_amount = exact_amount * 2,
                                   amount = amount * 2
            WHERE line_no = 1 AND kind = 'usage'""",
        ("billed", "*", "quantity", "*", "*"),
    ),
    "a document is another": (
        "UPDATE invoice_document SET content = 'another'",
        ("invoice", "*", "document", "*", "*"),
    ),
    "an invoice is not in the journal": (
        "UPDATE journal_entry SET kind = 'other' WHERE kind = 'invoice'",
        ("invoiced", "*", "amount", "*", "0"),
    ),
    "an invoice is gone": (
        "DELETE FROM invoice WHERE run_no = 2",
        ("invoiced", "*", "amount", "0", "*"),
    ),
}
