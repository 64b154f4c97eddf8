-- Which of these customers have usage that a query sees. Index on (customer_id, window_start).
SELECT DISTINCT d.customer_id FROM usage_delta d WHERE d.customer_id = ANY($1::text[])
