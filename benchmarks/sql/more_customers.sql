-- Customers like one that was entered.
INSERT INTO customer
SELECT (jsonb_populate_record(c, jsonb_build_object('customer_id', n.customer_id))).*
  FROM customer c CROSS JOIN unnest($1::text[]) AS n (customer_id)
 WHERE c.customer_id = ANY($2::text[]);
