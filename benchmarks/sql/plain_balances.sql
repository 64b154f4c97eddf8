-- What find_balances finds, from every posting.
SELECT p.account, p.currency::text, sum(p.amount) FILTER (WHERE e.booked_for < $2), sum(p.amount)
  FROM journal_entry e JOIN posting p USING (entry_id)
 WHERE e.entity_id = $1 AND e.booked_for < $3 AND e.batch_seq <= $4 GROUP BY 1, 2 ORDER BY 1, 2;
