-- A journal of so many entries over two years, as if booked: 500 a batch, of invoices of ten thousand customers with four
-- postings each; every batch has a cut-off. Run by the owner of the tables.
SET session_replication_role = replica;
INSERT INTO account (account, name, type) VALUES
  ('1000', 'Assets:Bank:Operating', 'asset'), ('1100', 'Assets:Receivable:Trade', 'asset'),
  ('1150', 'Assets:Receivable:Unbilled', 'asset'), ('2300', 'Liabilities:Tax:OutputVAT', 'liability'),
  ('4000', 'Income:Usage:Tokens', 'income'), ('6100', 'Expenses:Rounding', 'expense') ON CONFLICT DO NOTHING;
INSERT INTO cut_off (batch_seq, purpose) SELECT n, 'books' FROM generate_series(1, {entries} / 500) n;
INSERT INTO journal_entry (entity_id, kind, natural_key, revision, booked_for, customer_id, cut_off_id, batch_seq, description)
  SELECT 'factory', 'invoice', 'invoice:' || n, 1,
         timestamptz '2024-01-01 00:00+00' + (n::bigint * 730 * 86400 / {entries}) * interval '1 second',
         'c-' || n % 10000, 1, 1 + (n - 1) / 500, 'Invoice of the month'
    FROM generate_series(1, {entries}) n;
INSERT INTO posting (entry_id, line_no, account, amount, currency, customer_id)
  SELECT e.entry_id, p.line_no, p.account, p.amount, 'EUR', e.customer_id
    FROM journal_entry e
   CROSS JOIN LATERAL (SELECT 10 + e.entry_id % 1000 + 0.000123 AS exact) x
   CROSS JOIN LATERAL (VALUES (1, '1100', round(x.exact * 1.25, 2)), (2, '1150', -x.exact),
                              (3, '2300', -round(x.exact * 0.25, 2)),
                              (4, '6100', x.exact + round(x.exact * 0.25, 2) - round(x.exact * 1.25, 2)))
                      AS p (line_no, account, amount);
SELECT setval('batch_seq', {entries} / 500 + 1);
