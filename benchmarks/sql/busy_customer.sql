-- Usage of one customer between two moments, a row for each key and window, as if a million events had been counted;
-- what a server did not say of reasoning is marked. Run by the owner of the tables.
SET session_replication_role = replica;
INSERT INTO usage_delta (customer_id, usage_key_id, window_start, batch_seq, requests, uncached, cache_read, cache_write,
                         visible, reasoning)
  SELECT 'm-1', {keys} + k, w, (SELECT nextval('batch_seq')), {requests}, 1000 + k, 500, 0, 100, 0
    FROM generate_series(timestamptz '{since}', timestamptz '{until}' - interval '15 minutes', interval '{every}') w,
         generate_series(1, {keys}) k;
INSERT INTO usage_mark (customer_id, usage_key_id, window_start, batch_seq, estimated, incomplete, input_unknown,
                        output_unknown, cached_unknown, written_unknown, reasoning_unknown)
  SELECT customer_id, usage_key_id, window_start, batch_seq, 0, 0, 0, 0, 0, 0, requests FROM usage_delta
   WHERE customer_id = 'm-1' AND window_start >= timestamptz '{since}' AND window_start < timestamptz '{until}';
