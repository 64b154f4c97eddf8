-- name: insert_few
-- The rows of a small batch, of all tables at once; times are microseconds since 1970.
WITH facts AS (
  INSERT INTO usage_fact (stored_day, batch_seq, lane, ordinal, kind, flags, source_id, usage_key_id, engine_key_id,
                          time, started_at, first_token_at, ended_at, queue_ms,
                          requests, uncached, cache_read, cache_write, visible, reasoning,
                          event_id, agent_run_id, end_user)
  SELECT :stored_day, :batch_seq, f.lane, f.ordinal, f.kind, f.flags, f.source_id, f.usage_key_id, f.engine_key_id,
         from_micros(f.time), from_micros(f.started_at), from_micros(f.first_token_at), from_micros(f.ended_at),
         f.queue_ms,
         f.requests, f.uncached, f.cache_read, f.cache_write, f.visible, f.reasoning,
         f.event_id, f.agent_run_id, encode(f.end_user, 'hex')::uuid
    FROM unnest(:usage_fact_lane::smallint[], :usage_fact_ordinal::int[], :usage_fact_kind::smallint[],
                :usage_fact_flags::int[], :usage_fact_source_id::int[], :usage_fact_usage_key_id::bigint[],
                :usage_fact_engine_key_id::bigint[], :usage_fact_time::bigint[], :usage_fact_started_at::bigint[],
                :usage_fact_first_token_at::bigint[], :usage_fact_ended_at::bigint[], :usage_fact_queue_ms::bigint[],
                :usage_fact_requests::bigint[], :usage_fact_uncached::bigint[], :usage_fact_cache_read::bigint[],
                :usage_fact_cache_write::bigint[], :usage_fact_visible::bigint[], :usage_fact_reasoning::bigint[],
                :usage_fact_event_id::text[], :usage_fact_agent_run_id::text[], :usage_fact_end_user::bytea[])
         AS f(lane, ordinal, kind, flags, source_id, usage_key_id, engine_key_id, time, started_at, first_token_at,
              ended_at, queue_ms, requests, uncached, cache_read, cache_write, visible, reasoning,
              event_id, agent_run_id, end_user)
), usage AS (
  INSERT INTO usage_delta (batch_seq, customer_id, usage_key_id, window_start,
                           requests, uncached, cache_read, cache_write, visible, reasoning)
  SELECT :batch_seq, u.customer_id, u.usage_key_id, from_micros(u.window_start),
         u.requests, u.uncached, u.cache_read, u.cache_write, u.visible, u.reasoning
    FROM unnest(:usage_delta_customer_id::text[], :usage_delta_usage_key_id::bigint[],
                :usage_delta_window_start::bigint[], :usage_delta_requests::bigint[], :usage_delta_uncached::bigint[],
                :usage_delta_cache_read::bigint[], :usage_delta_cache_write::bigint[], :usage_delta_visible::bigint[],
                :usage_delta_reasoning::bigint[])
         AS u(customer_id, usage_key_id, window_start, requests, uncached, cache_read, cache_write, visible, reasoning)
), marks AS (
  INSERT INTO usage_mark (batch_seq, customer_id, usage_key_id, window_start, estimated, incomplete, input_unknown,
                          output_unknown, cached_unknown, written_unknown, reasoning_unknown)
  SELECT :batch_seq, m.customer_id, m.usage_key_id, from_micros(m.window_start), m.estimated, m.incomplete,
         m.input_unknown, m.output_unknown, m.cached_unknown, m.written_unknown, m.reasoning_unknown
    FROM unnest(:usage_mark_customer_id::text[], :usage_mark_usage_key_id::bigint[],
                :usage_mark_window_start::bigint[], :usage_mark_estimated::bigint[], :usage_mark_incomplete::bigint[],
                :usage_mark_input_unknown::bigint[], :usage_mark_output_unknown::bigint[],
                :usage_mark_cached_unknown::bigint[], :usage_mark_written_unknown::bigint[],
                :usage_mark_reasoning_unknown::bigint[])
         AS m(customer_id, usage_key_id, window_start, estimated, incomplete, input_unknown, output_unknown,
              cached_unknown, written_unknown, reasoning_unknown)
), activity AS (
  INSERT INTO activity (batch_seq, engine_key_id, window_start, usage_key_ids,
                        uncached, cache_read, cache_write, output)
  SELECT :batch_seq, a.engine_key_id, from_micros(a.window_start), array_agg(a.usage_key_id),
         array_agg(a.uncached), array_agg(a.cache_read), array_agg(a.cache_write), array_agg(a.output)
    FROM unnest(:activity_engine_key_id::bigint[], :activity_window_start::bigint[],
                :activity_usage_key_id::bigint[], :activity_uncached::bigint[],
                :activity_cache_read::bigint[], :activity_cache_write::bigint[],
                :activity_output::bigint[])
         AS a(engine_key_id, window_start, usage_key_id, uncached, cache_read, cache_write, output)
   GROUP BY a.engine_key_id, a.window_start
)
INSERT INTO activity_mask (batch_seq, engine_key_id, window_start, mask)
SELECT :batch_seq, b.engine_key_id, from_micros(b.window_start), ('x' || encode(b.mask, 'hex'))::bit(900)
  FROM unnest(:activity_mask_engine_key_id::bigint[], :activity_mask_window_start::bigint[],
              :activity_mask_mask::bytea[])
       AS b(engine_key_id, window_start, mask);

-- name: insert_receipts
-- What became of the bodies of a small batch.
INSERT INTO receipt (batch_seq, ordinal_from, source_id, lane, transport, position, actor, received_at, received,
                     counted, duplicate, conflict, quarantined, superseded, suspense)
SELECT r.batch_seq, r.ordinal_from, r.source_id, r.lane, r.transport, r.position, r.actor, r.received_at, r.received,
       r.counted, r.duplicate, r.conflict, r.quarantined, r.superseded, r.suspense
  FROM unnest(:batch_seq::bigint[], :ordinal_from::int[], :source_id::int[], :lane::smallint[], :transport::text[],
              :position::text[], :actor::text[], :received_at::timestamptz[], :received::int[], :counted::int[],
              :duplicate::int[], :conflict::int[], :quarantined::int[], :superseded::int[], :suspense::int[])
       AS r(batch_seq, ordinal_from, source_id, lane, transport, position, actor, received_at, received,
            counted, duplicate, conflict, quarantined, superseded, suspense);
