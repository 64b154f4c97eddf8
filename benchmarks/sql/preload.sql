-- What the first slice stored, kept aside, and a function that stores it once more as other history: all that
-- ingest writes grows in the proportions it has in work. A copy has batch numbers and ids of its own, and lies two
-- hours earlier than the one before.
CREATE UNLOGGED TABLE warm_usage_fact AS TABLE usage_fact;
CREATE UNLOGGED TABLE warm_usage_chunk AS TABLE usage_chunk;
CREATE UNLOGGED TABLE warm_event_key AS TABLE event_key;
CREATE UNLOGGED TABLE warm_ingest_batch AS TABLE ingest_batch;
CREATE UNLOGGED TABLE warm_receipt AS TABLE receipt;
CREATE UNLOGGED TABLE warm_usage_delta AS TABLE usage_delta;
CREATE UNLOGGED TABLE warm_activity AS TABLE activity;
CREATE UNLOGGED TABLE warm_activity_mask AS TABLE activity_mask;

-- The key of an id that comes before: the first six bytes say where, and as many numbers as a slice has lie between.
CREATE FUNCTION earlier_key(key uuid, copy bigint) RETURNS uuid LANGUAGE sql IMMUTABLE
  RETURN encode(substr(int8send((('x' || encode(substr(uuid_send(key), 1, 6), 'hex'))::bit(48)::bigint - copy * 1048576)
                                & 281474976710655), 3) || substr(uuid_send(key), 7), 'hex')::uuid;

CREATE FUNCTION preload(copy bigint, base bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  ago interval := copy * interval '2 hours';
  ids text := '0' || lpad(copy::text, 8, '0');
BEGIN
  INSERT INTO usage_fact (
    stored_day, lane, batch_seq, ordinal, kind, flags, source_id, usage_key_id, engine_key_id, time, started_at,
    first_token_at, ended_at, requests, uncached, cache_read, cache_write, visible, reasoning, event_id,
    agent_run_id, end_user)
  SELECT
    w.stored_day, w.lane, base + w.batch_seq, w.ordinal, w.kind, w.flags, w.source_id, w.usage_key_id,
    w.engine_key_id, w.time - ago, w.started_at - ago, w.first_token_at - ago, w.ended_at - ago, w.requests,
    w.uncached, w.cache_read, w.cache_write, w.visible, w.reasoning, ids || substr(w.event_id, 10), w.agent_run_id,
    w.end_user
    FROM warm_usage_fact w;
  -- What is inside a chunk stays: nobody looks at when it was.
  INSERT INTO usage_chunk (
    stored_day, batch_seq, rows, first_ordinal, last_ordinal, first_time, last_time, source_ids, last_times,
    suspended, sha256, facts)
  SELECT
    w.stored_day, base + w.batch_seq, w.rows, w.first_ordinal, w.last_ordinal, w.first_time - ago, w.last_time - ago,
    w.source_ids, w.last_times, w.suspended, w.sha256, w.facts
    FROM warm_usage_chunk w;
  INSERT INTO event_key (
    batch_seq, owner,
    key_0, digest_0, ordinal_0,
    key_1, digest_1, ordinal_1,
    key_2, digest_2, ordinal_2,
    key_3, digest_3, ordinal_3,
    key_4, digest_4, ordinal_4,
    key_5, digest_5, ordinal_5,
    key_6, digest_6, ordinal_6,
    key_7, digest_7, ordinal_7)
  SELECT
    base + w.batch_seq, w.owner,
    earlier_key(w.key_0, copy), w.digest_0, w.ordinal_0,
    earlier_key(w.key_1, copy), w.digest_1, w.ordinal_1,
    earlier_key(w.key_2, copy), w.digest_2, w.ordinal_2,
    earlier_key(w.key_3, copy), w.digest_3, w.ordinal_3,
    earlier_key(w.key_4, copy), w.digest_4, w.ordinal_4,
    earlier_key(w.key_5, copy), w.digest_5, w.ordinal_5,
    earlier_key(w.key_6, copy), w.digest_6, w.ordinal_6,
    earlier_key(w.key_7, copy), w.digest_7, w.ordinal_7
    FROM warm_event_key w;
  INSERT INTO ingest_batch (
    source_id, producer, epoch, sequence, digest, batch_seq, ordinal_from, events)
  SELECT
    w.source_id, w.producer, 1000 + copy, w.sequence, w.digest, base + w.batch_seq, w.ordinal_from, w.events
    FROM warm_ingest_batch w;
  INSERT INTO receipt (
    batch_seq, ordinal_from, source_id, lane, transport, received_at, received, counted)
  SELECT
    base + w.batch_seq, w.ordinal_from, w.source_id, w.lane, w.transport, w.received_at, w.received, w.counted
    FROM warm_receipt w;
  INSERT INTO usage_delta (
    customer_id, usage_key_id, window_start, batch_seq, requests, uncached, cache_read, cache_write, visible,
    reasoning)
  SELECT
    w.customer_id, w.usage_key_id, w.window_start - ago, base + w.batch_seq, w.requests, w.uncached, w.cache_read,
    w.cache_write, w.visible, w.reasoning
    FROM warm_usage_delta w;
  INSERT INTO activity (
    engine_key_id, window_start, usage_key_ids, batch_seq, uncached, cache_read, cache_write, output)
  SELECT
    w.engine_key_id, w.window_start - ago, w.usage_key_ids, base + w.batch_seq, w.uncached, w.cache_read,
    w.cache_write, w.output
    FROM warm_activity w;
  INSERT INTO activity_mask (
    engine_key_id, window_start, batch_seq, mask)
  SELECT
    w.engine_key_id, w.window_start - ago, base + w.batch_seq, w.mask
    FROM warm_activity_mask w;
END $$;
