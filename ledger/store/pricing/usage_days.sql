-- name: sum_marks_of_subscription
-- Requests of a period under a subscription as known at a cut-off, its customer's and of all below, and how many of them
-- lack what; usage_day (customer_id, day_start) and (payer_id, day_start).
SELECT coalesce(sum(d.requests), 0) AS requests, coalesce(sum(d.estimated), 0) AS estimated,
       coalesce(sum(d.incomplete), 0) AS incomplete, coalesce(sum(d.input_unknown), 0) AS input_unknown,
       coalesce(sum(d.output_unknown), 0) AS output_unknown, coalesce(sum(d.cached_unknown), 0) AS cached_unknown,
       coalesce(sum(d.written_unknown), 0) AS written_unknown,
       coalesce(sum(d.reasoning_unknown), 0) AS reasoning_unknown
  FROM usage_day d
 WHERE d.subscription_id = :subscription_id AND (d.customer_id = :customer_id OR d.payer_id = :customer_id)
   AND d.day_start >= :since AND d.day_start < :until AND d.batch_seq <= :batch_seq;
