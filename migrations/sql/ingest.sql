-- What happened: facts, how each fared, and the sums that rating and allocation read.

CREATE TABLE source (
  source_id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  source    text NOT NULL UNIQUE CHECK (source <> ''),
  form      text CHECK (form IN ('sequenced', 'keyed')),
  batch_seq bigint NOT NULL
);
COMMENT ON COLUMN source.form IS 'sequenced: numbered batches of a producer; keyed: each event has an id of its own; NULL: nobody sent any yet but with a bound key.';
CREATE FUNCTION refuse_change_of_form() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF OLD.form IS NULL THEN RETURN NEW; END IF;
  RAISE EXCEPTION 'a source keeps the form it came in first' USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER keeps_form BEFORE UPDATE ON source FOR EACH ROW EXECUTE FUNCTION refuse_change_of_form();

-- What a bound key sends has names of its own, and a form of its own: it decides nothing for others.
CREATE TABLE source_form (
  source_id int NOT NULL REFERENCES source,
  owner     text COLLATE "C" NOT NULL CHECK (owner <> ''),
  form      text NOT NULL CHECK (form IN ('sequenced', 'keyed')),
  batch_seq bigint NOT NULL,
  PRIMARY KEY (source_id, owner)
);
COMMENT ON TABLE source_form IS 'The form in which senders with a bound key (ingest_batch.owner) came first to a source; source.form is that of all others.';

-- One row for every batch that arrived, whatever became of it: the fates add up to what was received. One of nothing says
-- that nothing came until then (`add_silence`).
CREATE TABLE receipt (
  batch_seq    bigint NOT NULL,
  ordinal_from int NOT NULL,
  source_id    int REFERENCES source,
  lane         smallint NOT NULL,
  transport    text NOT NULL CHECK (transport IN ('kafka', 'http', 'file', 'internal')),
  position     text NOT NULL DEFAULT '',
  actor        text NOT NULL DEFAULT '',
  received_at  timestamptz NOT NULL,
  received     int NOT NULL,
  counted      int NOT NULL DEFAULT 0,
  duplicate    int NOT NULL DEFAULT 0,
  conflict     int NOT NULL DEFAULT 0,
  quarantined  int NOT NULL DEFAULT 0,
  superseded   int NOT NULL DEFAULT 0,
  suspense     int NOT NULL DEFAULT 0,
  PRIMARY KEY (batch_seq, ordinal_from),
  CHECK (received = counted + duplicate + conflict + quarantined + superseded + suspense)
);
COMMENT ON COLUMN receipt.position IS 'Where it came from: topic/partition/offset, request id, or file line.';

CREATE TABLE ingest_batch (
  source_id    int NOT NULL REFERENCES source,
  producer     text NOT NULL,
  epoch        bigint NOT NULL,
  sequence     bigint NOT NULL CHECK (sequence >= 0),
  digest       uuid NOT NULL,
  batch_seq    bigint NOT NULL,
  ordinal_from int NOT NULL,
  events       int NOT NULL,
  owner        text COLLATE "C" NOT NULL DEFAULT '',
  PRIMARY KEY (source_id, producer, epoch, sequence, owner)
);
COMMENT ON COLUMN ingest_batch.owner IS 'What the key is bound to that sent it: a place is its owner''s, and taken of nobody else. Empty: the house''s.';
COMMENT ON TABLE ingest_batch IS 'A numbered batch counts once, for ever; an event of it is found by its place, batch_seq and ordinal_from + its own ordinal.';

-- The ids of a batch, eight to a row: each stands in the slot that the last three bits of its key name, so that a slot's index
-- alone says whether it is taken, and what a row costs beside its ids is shared by eight.
CREATE TABLE event_key (
  batch_seq bigint NOT NULL,
  owner     text COLLATE "C",
  key_0 uuid, digest_0 uuid, ordinal_0 int,
  key_1 uuid, digest_1 uuid, ordinal_1 int,
  key_2 uuid, digest_2 uuid, ordinal_2 int,
  key_3 uuid, digest_3 uuid, ordinal_3 int,
  key_4 uuid, digest_4 uuid, ordinal_4 int,
  key_5 uuid, digest_5 uuid, ordinal_5 int,
  key_6 uuid, digest_6 uuid, ordinal_6 int,
  key_7 uuid, digest_7 uuid, ordinal_7 int
);
COMMENT ON COLUMN event_key.owner IS 'What the key is bound to that sent the events which were first; NULL: the house''s. What others send under the ids is a revision 0 of theirs in correction.';
COMMENT ON TABLE event_key IS 'The one structure that grows with keyed events and is never archived: keys of their ids (ledger/domain/metering/event_key.py), with what each said and where it is.';
CREATE UNIQUE INDEX ON event_key (key_0) WHERE key_0 IS NOT NULL;
CREATE UNIQUE INDEX ON event_key (key_1) WHERE key_1 IS NOT NULL;
CREATE UNIQUE INDEX ON event_key (key_2) WHERE key_2 IS NOT NULL;
CREATE UNIQUE INDEX ON event_key (key_3) WHERE key_3 IS NOT NULL;
CREATE UNIQUE INDEX ON event_key (key_4) WHERE key_4 IS NOT NULL;
CREATE UNIQUE INDEX ON event_key (key_5) WHERE key_5 IS NOT NULL;
CREATE UNIQUE INDEX ON event_key (key_6) WHERE key_6 IS NOT NULL;
CREATE UNIQUE INDEX ON event_key (key_7) WHERE key_7 IS NOT NULL;

CREATE VIEW taken_event WITH (security_invoker) AS
SELECT 0 AS slot, key_0 AS key, digest_0 AS digest, batch_seq, ordinal_0 AS ordinal, owner FROM event_key WHERE key_0 IS NOT NULL
UNION ALL
SELECT 1, key_1, digest_1, batch_seq, ordinal_1, owner FROM event_key WHERE key_1 IS NOT NULL
UNION ALL
SELECT 2, key_2, digest_2, batch_seq, ordinal_2, owner FROM event_key WHERE key_2 IS NOT NULL
UNION ALL
SELECT 3, key_3, digest_3, batch_seq, ordinal_3, owner FROM event_key WHERE key_3 IS NOT NULL
UNION ALL
SELECT 4, key_4, digest_4, batch_seq, ordinal_4, owner FROM event_key WHERE key_4 IS NOT NULL
UNION ALL
SELECT 5, key_5, digest_5, batch_seq, ordinal_5, owner FROM event_key WHERE key_5 IS NOT NULL
UNION ALL
SELECT 6, key_6, digest_6, batch_seq, ordinal_6, owner FROM event_key WHERE key_6 IS NOT NULL
UNION ALL
SELECT 7, key_7, digest_7, batch_seq, ordinal_7, owner FROM event_key WHERE key_7 IS NOT NULL;
COMMENT ON VIEW taken_event IS 'Which events took their ids, one a row. Whoever looks for a key names its slot, slot_of(key), as well.';
CREATE FUNCTION slot_of(key uuid) RETURNS int LANGUAGE sql IMMUTABLE PARALLEL SAFE
  RETURN get_byte(uuid_send(key), 15) & 7;

CREATE TABLE usage_key (
  usage_key_id bigint PRIMARY KEY,
  entity_id    text,
  customer_id  text,
  customer_ref text NOT NULL,
  project_id   text NOT NULL DEFAULT '',
  api_key_id   text NOT NULL DEFAULT '',
  agent_id     text NOT NULL DEFAULT '',
  tier         text NOT NULL,
  model        text NOT NULL,
  adapter      text NOT NULL DEFAULT '',
  region       text NOT NULL DEFAULT '',
  context_band smallint NOT NULL DEFAULT 0,
  outcomes     smallint NOT NULL DEFAULT 0
);
COMMENT ON COLUMN usage_key.outcomes IS 'Bits, see ledger/domain/pricing/outcome.py.';
COMMENT ON COLUMN usage_key.usage_key_id IS 'Content hash of the other columns; a collision is refused by ingest.';
COMMENT ON COLUMN usage_key.customer_id IS 'NULL while nobody knows customer_ref: the usage is in suspense.';

CREATE TABLE engine_key (
  engine_key_id   bigint PRIMARY KEY,
  engine_instance text NOT NULL,
  model           text NOT NULL,
  tier            text NOT NULL
);
COMMENT ON TABLE engine_key IS 'Where usage ran, as the event says; deployments claim it by instance, else by model and tier.';

CREATE TABLE usage_fact (
  stored_day     date NOT NULL,
  lane           smallint NOT NULL,
  batch_seq      bigint NOT NULL,
  ordinal        int NOT NULL,
  kind           smallint NOT NULL CHECK (kind BETWEEN 1 AND 4),
  flags          int NOT NULL,
  source_id      int NOT NULL,
  usage_key_id   bigint NOT NULL,
  engine_key_id  bigint NOT NULL,
  time           timestamptz NOT NULL,
  started_at     timestamptz,
  first_token_at timestamptz,
  ended_at       timestamptz,
  queue_ms       bigint,
  requests       bigint NOT NULL,
  uncached       bigint NOT NULL,
  cache_read     bigint NOT NULL,
  cache_write    bigint NOT NULL,
  visible        bigint NOT NULL,
  reasoning      bigint NOT NULL,
  event_id       text,
  agent_run_id   text,
  end_user       uuid
) PARTITION BY RANGE (stored_day);
COMMENT ON COLUMN usage_fact.kind IS '1 original, 2 reversal (counts negative), 3 replacement by a correction, 4 release from suspense.';
COMMENT ON COLUMN usage_fact.flags IS 'Bits, see ledger/domain/metering/fact.py.';
COMMENT ON COLUMN usage_fact.queue_ms IS 'How long it waited from started_at on, before anything ran; NULL where nobody said.';
COMMENT ON COLUMN usage_fact.end_user IS 'Keyed hash of the end user; the id itself is never stored.';
CREATE INDEX ON usage_fact USING brin (batch_seq) WITH (pages_per_range = 32);

CREATE TABLE usage_chunk (
  stored_day    date NOT NULL,
  batch_seq     bigint NOT NULL,
  rows          int NOT NULL CHECK (rows > 0),
  first_ordinal int NOT NULL,
  last_ordinal  int NOT NULL,
  first_time    timestamptz NOT NULL,
  last_time     timestamptz NOT NULL,
  source_ids    int[] NOT NULL,
  last_times    timestamptz[] NOT NULL,
  suspended     int NOT NULL,
  sha256        bytea NOT NULL CHECK (octet_length(sha256) = 32),
  facts         bytea
) PARTITION BY RANGE (stored_day);
COMMENT ON TABLE usage_chunk IS 'Facts of a large batch as columns, instead of rows of usage_fact: Parquet of all their columns but for day and batch.';
COMMENT ON COLUMN usage_chunk.last_times IS 'The last time of each of source_ids.';
COMMENT ON COLUMN usage_chunk.suspended IS 'Facts of customers whom nobody knew when they were stored.';
-- Compressed before it comes.
ALTER TABLE usage_chunk ALTER COLUMN facts SET STORAGE EXTERNAL;
COMMENT ON COLUMN usage_chunk.facts IS 'NULL once merged_chunk has them; what the row says of them stays.';
CREATE INDEX ON usage_chunk (batch_seq);

CREATE TABLE merged_chunk (
  stored_day      date NOT NULL,
  part            int NOT NULL,
  first_batch_seq bigint NOT NULL,
  last_batch_seq  bigint NOT NULL,
  rows            int NOT NULL CHECK (rows > 0),
  first_customer  text COLLATE "C" NOT NULL,
  last_customer   text COLLATE "C" NOT NULL,
  first_time      timestamptz NOT NULL,
  last_time       timestamptz NOT NULL,
  source_ids      int[] NOT NULL,
  last_batch_seqs bigint[] NOT NULL,
  last_times      timestamptz[] NOT NULL,
  suspended       int NOT NULL,
  sha256          bytea NOT NULL CHECK (octet_length(sha256) = 32),
  facts           bytea NOT NULL,
  PRIMARY KEY (stored_day, part)
) PARTITION BY RANGE (stored_day);
COMMENT ON TABLE merged_chunk IS 'Facts of many batches as columns, by customer and time, instead of what they came as: Parquet of all their columns but for the day.';
COMMENT ON COLUMN merged_chunk.part IS 'From 1, as the day''s facts were merged.';
COMMENT ON COLUMN merged_chunk.first_customer IS 'Of the customers of its facts the first; empty is one whom nobody knows.';
COMMENT ON COLUMN merged_chunk.last_times IS 'The last time of the last batch (last_batch_seqs) of each of source_ids.';
-- Compressed before it comes.
ALTER TABLE merged_chunk ALTER COLUMN facts SET STORAGE EXTERNAL;
CREATE INDEX ON merged_chunk (last_batch_seq);

CREATE TABLE gpu_reading (
  stored_day date NOT NULL,
  batch_seq  bigint NOT NULL,
  ordinal    int NOT NULL,
  source_id  int NOT NULL,
  gpu_uuid   text NOT NULL,
  epoch      text NOT NULL,
  sampled_at timestamptz NOT NULL,
  energy_mj  bigint NOT NULL CHECK (energy_mj >= 0),
  power_mw   bigint,
  method     text NOT NULL,
  quality    text NOT NULL,
  boot_id      text,
  driver_load  text,
  monotonic_us bigint,
  scope        text NOT NULL DEFAULT 'gpu'
) PARTITION BY RANGE (stored_day);
COMMENT ON COLUMN gpu_reading.monotonic_us IS 'Since the boot that boot_id names: readings are ordered and paired by both, and driver_load says whose counter ran on.';
COMMENT ON COLUMN gpu_reading.scope IS 'What the counter covers: the gpu, or its module with CPU and memory, beside which no host energy is added.';
CREATE INDEX ON gpu_reading (gpu_uuid, sampled_at);
CREATE INDEX ON gpu_reading USING brin (batch_seq);

CREATE TABLE meter_gap (
  stored_day date NOT NULL,
  batch_seq  bigint NOT NULL,
  ordinal    int NOT NULL,
  source_id  int NOT NULL,
  gpu_uuid   text NOT NULL,
  reason     text NOT NULL,
  since      timestamptz NOT NULL,
  until      timestamptz NOT NULL CHECK (until >= since),
  detail     text
) PARTITION BY RANGE (stored_day);
COMMENT ON TABLE meter_gap IS 'Why a meter gave no reading from when to when, as its collector says; one told again while it goes on has the same since.';
CREATE INDEX ON meter_gap (gpu_uuid, until);
CREATE INDEX ON meter_gap USING brin (batch_seq);

CREATE TABLE counter_reading (
  stored_day      date NOT NULL,
  batch_seq       bigint NOT NULL,
  ordinal         int NOT NULL,
  source_id       int NOT NULL,
  engine          text NOT NULL,
  engine_instance text NOT NULL,
  run_id          text NOT NULL,
  run_started_at  timestamptz,
  scraped_at      timestamptz NOT NULL,
  metric          text NOT NULL,
  labels          jsonb NOT NULL,
  value           numeric NOT NULL,
  precision_loss  boolean NOT NULL DEFAULT false
) PARTITION BY RANGE (stored_day);
CREATE INDEX ON counter_reading (engine_instance, metric, scraped_at);
CREATE INDEX ON counter_reading USING brin (batch_seq);

CREATE TABLE provider_claim (
  batch_seq bigint NOT NULL,
  ordinal   int NOT NULL,
  amount    amount NOT NULL,
  currency  currency NOT NULL,
  PRIMARY KEY (batch_seq, ordinal)
);
COMMENT ON TABLE provider_claim IS 'What a vendor says an attempt cost: kept for reconciliation, never shown to a customer.';

CREATE TABLE correction (
  source_id      int NOT NULL REFERENCES source,
  target         text COLLATE "C" NOT NULL,
  owner          text COLLATE "C" NOT NULL DEFAULT '',
  revision       int NOT NULL CHECK (revision >= 0),
  original       boolean NOT NULL,
  digest         uuid NOT NULL,
  batch_seq      bigint NOT NULL,
  ordinal        int NOT NULL,
  PRIMARY KEY (source_id, target, owner, revision)
);
COMMENT ON COLUMN correction.target IS 'The original''s event id, or producer/epoch/sequence/ordinal of a sequenced one; the highest revision stands. Revision 0 is what came under it: an original, if it came after its correction, or a correction or a reading, which nothing replaces.';
COMMENT ON COLUMN correction.owner IS 'The customer of a correction whose key is bound to customers: it replaces their usage only; of a revision 0, what its key is bound to. Empty: the house''s.';

CREATE TABLE fate_change (
  batch_seq      bigint NOT NULL,
  ordinal        int NOT NULL,
  fact_batch_seq bigint NOT NULL,
  fact_ordinal   int NOT NULL,
  from_fate      text NOT NULL CHECK (from_fate IN ('counted', 'quarantined', 'superseded', 'suspense')),
  to_fate        text NOT NULL CHECK (to_fate IN ('counted', 'duplicate', 'conflict', 'quarantined', 'superseded', 'suspense')),
  reason         text NOT NULL,
  PRIMARY KEY (batch_seq, fact_batch_seq, fact_ordinal)
);
COMMENT ON COLUMN fate_change.ordinal IS 'The row of batch_seq that brought the change, and stands for the fact where one does.';
CREATE INDEX ON fate_change (fact_batch_seq, fact_ordinal);

CREATE TABLE conflict (
  conflict_id      bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
  batch_seq        bigint NOT NULL,
  ordinal          int NOT NULL,
  source_id        int NOT NULL,
  event_id         text NOT NULL,
  stored_digest    uuid NOT NULL,
  offered_digest   uuid NOT NULL,
  stored_batch_seq bigint NOT NULL,
  stored_ordinal   int NOT NULL,
  items            int NOT NULL CHECK (items > 0),
  PRIMARY KEY (batch_seq, ordinal)
);
COMMENT ON COLUMN conflict.items IS 'How many events were offered under the one identity: those of a numbered batch, or one.';
-- What was offered under an identity that was taken: events as the ledger reads them, a line each; it expires.
CREATE TABLE conflict_offer (
  batch_seq  bigint NOT NULL,
  ordinal    int NOT NULL,
  source_id  int NOT NULL,
  offered    text NOT NULL,
  items      int NOT NULL CHECK (items > 0),
  truncated  boolean NOT NULL,
  binding    jsonb,
  expires_at timestamptz NOT NULL,
  PRIMARY KEY (batch_seq, ordinal)
);
CREATE INDEX ON conflict_offer (source_id, expires_at);
COMMENT ON COLUMN conflict_offer.binding IS 'What the key it was sent with is bound to (NULL: to nothing): whoever resolves it, what is sent again is judged by this.';
COMMENT ON COLUMN conflict_offer.items IS 'Those of its conflict: what counts against the bound of a source and day.';
CREATE TABLE conflict_resolution (
  conflict_id bigint PRIMARY KEY REFERENCES conflict (conflict_id),
  resolution  text NOT NULL CHECK (resolution IN ('kept', 'corrected', 'resent')),
  actor       text NOT NULL,
  reason      text NOT NULL CHECK (reason <> ''),
  resolved_at timestamptz NOT NULL
);
COMMENT ON COLUMN conflict_resolution.resolution IS 'kept: what was stored first stands; corrected: what was offered replaced it; resent: it was stored under an id of its own.';

-- Usage that nobody will ever own, as it stood when somebody said so; what comes later waits again.
CREATE TABLE suspense_dismissal (
  customer_ref  text NOT NULL,
  requests      quantity NOT NULL,
  input_tokens  quantity NOT NULL,
  output_tokens quantity NOT NULL,
  actor         text NOT NULL,
  reason        text NOT NULL CHECK (reason <> ''),
  dismissed_at  timestamptz NOT NULL,
  PRIMARY KEY (customer_ref, dismissed_at)
);

CREATE TABLE quarantine (
  quarantine_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  batch_seq     bigint NOT NULL,
  ordinal       int NOT NULL,
  source        text NOT NULL,
  event_id      text,
  reason        text NOT NULL,
  detail        text NOT NULL,
  received_at   timestamptz NOT NULL,
  items         int NOT NULL DEFAULT 1 CHECK (items > 0),
  UNIQUE (batch_seq, ordinal)
);
COMMENT ON COLUMN quarantine.items IS 'How many refused items the row stands for: beyond a bound they are counted and not kept.';
CREATE INDEX ON quarantine (source, received_at);
-- Raw bytes may hold anything, so they live apart, for operators only, and expire.
CREATE TABLE quarantine_raw (
  quarantine_id bigint PRIMARY KEY REFERENCES quarantine,
  raw           bytea NOT NULL,
  truncated     boolean NOT NULL,
  binding       jsonb,
  sent_as       jsonb,
  expires_at    timestamptz NOT NULL
);
CREATE INDEX ON quarantine_raw (quarantine_id) WHERE sent_as IS NOT NULL;
COMMENT ON COLUMN quarantine_raw.sent_as IS 'Of a dead letter, which is a whole record: its headers, with which it is tried again.';
COMMENT ON COLUMN quarantine_raw.binding IS 'What the key it was sent with is bound to (NULL: to nothing): whoever replays it, it is judged by this.';
CREATE TABLE quarantine_replay (
  quarantine_id bigint PRIMARY KEY REFERENCES quarantine,
  batch_seq     bigint NOT NULL,
  ordinal       int NOT NULL,
  fate          text NOT NULL
);

CREATE TABLE quarantine_dismissal (
  quarantine_id bigint PRIMARY KEY REFERENCES quarantine,
  actor         text NOT NULL,
  reason        text NOT NULL CHECK (reason <> ''),
  dismissed_at  timestamptz NOT NULL
);
COMMENT ON TABLE quarantine_dismissal IS 'Refused items that nobody waits for any more, and who said so.';

CREATE TABLE kafka_position (
  cluster_id  text NOT NULL,
  topic_id    text NOT NULL,
  partition   int NOT NULL,
  topic       text NOT NULL,
  next_offset bigint NOT NULL CHECK (next_offset >= 0),
  batch_seq   bigint NOT NULL,
  PRIMARY KEY (cluster_id, topic_id, partition)
);
CREATE TABLE kafka_gap (
  cluster_id  text NOT NULL,
  topic_id    text NOT NULL,
  partition   int NOT NULL,
  from_offset bigint NOT NULL,
  to_offset   bigint NOT NULL CHECK (to_offset > from_offset),
  noticed_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (cluster_id, topic_id, partition, from_offset)
);
COMMENT ON TABLE kafka_gap IS 'Offsets the broker no longer had when we came for them.';

-- Customer first, for rating. window_start is the quarter hour of the attempt''s end.
CREATE TABLE usage_delta (
  customer_id  text,
  usage_key_id bigint NOT NULL,
  window_start timestamptz NOT NULL CHECK (on_grid(window_start)),
  batch_seq    bigint NOT NULL,
  requests     bigint NOT NULL,
  uncached     bigint NOT NULL,
  cache_read   bigint NOT NULL,
  cache_write  bigint NOT NULL,
  visible      bigint NOT NULL,
  reasoning    bigint NOT NULL
);
CREATE INDEX ON usage_delta (customer_id, window_start);
CREATE INDEX ON usage_delta USING brin (batch_seq) WITH (pages_per_range = 16);

-- What runs of agents used, by run, for those who ask about runs; who started a run, and its step, as events said. Extras
-- are rows of their own, without tokens.
CREATE TABLE agent_run_delta (
  customer_id     text NOT NULL,
  agent_run_id    text NOT NULL,
  usage_key_id    bigint NOT NULL,
  window_start    timestamptz NOT NULL CHECK (on_grid(window_start)),
  batch_seq       bigint NOT NULL,
  requests        bigint NOT NULL,
  uncached        bigint NOT NULL,
  cache_read      bigint NOT NULL,
  cache_write     bigint NOT NULL,
  visible         bigint NOT NULL,
  reasoning       bigint NOT NULL,
  meter           text COLLATE "C" CHECK (meter <> ''),
  quantity        bigint NOT NULL CHECK ((quantity = 0) = (meter IS NULL)),
  parent_agent_id text,
  parent_run_id   text,
  step            bigint,
  first_at        timestamptz,
  last_at         timestamptz
);
CREATE INDEX ON agent_run_delta (customer_id, agent_run_id);
CREATE INDEX ON agent_run_delta (customer_id, parent_run_id) WHERE parent_run_id IS NOT NULL;
CREATE INDEX ON agent_run_delta (customer_id, window_start);

-- How much of a window's usage is not what a final count says: requests, by what they lack. Rows where there are any.
CREATE TABLE usage_mark (
  customer_id    text,
  usage_key_id   bigint NOT NULL,
  window_start   timestamptz NOT NULL CHECK (on_grid(window_start)),
  batch_seq      bigint NOT NULL,
  estimated      bigint NOT NULL,
  incomplete     bigint NOT NULL,
  input_unknown  bigint NOT NULL,
  output_unknown bigint NOT NULL,
  cached_unknown bigint NOT NULL,
  written_unknown bigint NOT NULL,
  reasoning_unknown bigint NOT NULL
);
COMMENT ON TABLE usage_mark IS 'Requests of usage_delta that were estimated, cut short, or did not say their input, output or a part of either; summed as that is.';
CREATE INDEX ON usage_mark (customer_id, window_start);
CREATE INDEX ON usage_mark USING brin (batch_seq) WITH (pages_per_range = 16);

-- What few attempts count beside tokens, or as parts of them: of a window and meter, and of each batch all facts that have
-- it. Rows where there are any.
CREATE TABLE extra_delta (
  customer_id  text,
  usage_key_id bigint NOT NULL,
  window_start timestamptz NOT NULL CHECK (on_grid(window_start)),
  batch_seq    bigint NOT NULL,
  meter        text COLLATE "C" NOT NULL CHECK (meter <> ''),
  quantity     bigint NOT NULL
);
COMMENT ON TABLE extra_delta IS 'Extras of usage_delta, summed as that is; their meters are EXTRAS of ledger/wire/extras.py.';
CREATE INDEX ON extra_delta (customer_id, window_start);
CREATE INDEX ON extra_delta USING brin (batch_seq) WITH (pages_per_range = 16);
CREATE TABLE usage_extra (
  stored_day    date NOT NULL,
  batch_seq     bigint NOT NULL,
  meter         text COLLATE "C" NOT NULL CHECK (meter <> ''),
  ordinals      int[] NOT NULL,
  usage_key_ids bigint[] NOT NULL,
  times         timestamptz[] NOT NULL,
  quantities    bigint[] NOT NULL,
  PRIMARY KEY (batch_seq, meter, stored_day),
  CHECK (cardinality(ordinals) > 0 AND cardinality(usage_key_ids) = cardinality(ordinals)
         AND cardinality(times) = cardinality(ordinals) AND cardinality(quantities) = cardinality(ordinals))
) PARTITION BY RANGE (stored_day);
COMMENT ON TABLE usage_extra IS 'Extras of facts by their ordinals, with the key, time and sign of each: found by its place when a fact is taken back, and moved to a file with the facts of its day.';

-- Which meter another is a part of: what it counts is priced as that where no price is for it.
CREATE FUNCTION part_of(meter text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
  WHEN meter = 'input_cache_write_1h' THEN 'input_cache_write'
  WHEN meter IN ('input_audio', 'input_image', 'input_video') THEN 'input_uncached'
  WHEN meter = 'input_cache_read_audio' THEN 'input_cache_read'
  WHEN meter IN ('output_rejected_prediction', 'output_audio', 'output_image') THEN 'output_visible'
END;
COMMENT ON FUNCTION part_of(text) IS 'PART_OF of ledger/wire/extras.py; a test holds the two together.';
CREATE FUNCTION same_as(meter text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
  WHEN meter IN ('input_pages', 'input_characters') THEN 'input_uncached'
  WHEN meter = 'input_images' THEN 'input_image'
  WHEN meter = 'output_images' THEN 'output_image'
  WHEN meter = 'input_audio_ms' THEN 'input_audio'
  WHEN meter = 'output_audio_ms' THEN 'output_audio'
  WHEN meter = 'input_video_ms' THEN 'input_video'
END;
COMMENT ON FUNCTION same_as(text) IS 'SAME_AS of ledger/wire/extras.py; a test holds the two together.';

-- Engine first, for allocation: tokens where they were worked on, and the seconds in which work ran.
CREATE TABLE activity (
  engine_key_id bigint NOT NULL,
  window_start  timestamptz NOT NULL CHECK (on_grid(window_start)),
  batch_seq     bigint NOT NULL,
  usage_key_ids bigint[] NOT NULL CHECK (are_numbers(usage_key_ids, cardinality(usage_key_ids))),
  uncached      bigint[] NOT NULL CHECK (are_numbers(uncached, cardinality(usage_key_ids))),
  cache_read    bigint[] NOT NULL CHECK (are_numbers(cache_read, cardinality(usage_key_ids))),
  cache_write   bigint[] NOT NULL CHECK (are_numbers(cache_write, cardinality(usage_key_ids))),
  output        bigint[] NOT NULL CHECK (are_numbers(output, cardinality(usage_key_ids)))
);
COMMENT ON TABLE activity IS 'A row is of one engine, window and batch, or of many batches that were summed or folded; its usage keys lie side by side, because of many customers nearly every event has one of its own.';
-- To compress arrays takes six times as long as to store them.
ALTER TABLE activity ALTER COLUMN usage_key_ids SET STORAGE EXTERNAL, ALTER COLUMN uncached SET STORAGE EXTERNAL,
                     ALTER COLUMN cache_read SET STORAGE EXTERNAL, ALTER COLUMN cache_write SET STORAGE EXTERNAL,
                     ALTER COLUMN output SET STORAGE EXTERNAL;
CREATE INDEX ON activity (window_start, engine_key_id);
CREATE INDEX ON activity USING brin (batch_seq) WITH (pages_per_range = 16);

-- Whoever reads it is bound by the policies of the table.
CREATE VIEW activity_delta WITH (security_invoker) AS
  SELECT a.engine_key_id, a.window_start, k.usage_key_id, a.batch_seq, k.uncached, k.cache_read, k.cache_write, k.output
    FROM activity a
   CROSS JOIN LATERAL unnest(a.usage_key_ids, a.uncached, a.cache_read, a.cache_write, a.output)
           AS k(usage_key_id, uncached, cache_read, cache_write, output);
COMMENT ON VIEW activity_delta IS 'Activity, a row a usage key.';

CREATE TABLE activity_mask (
  engine_key_id bigint NOT NULL,
  window_start  timestamptz NOT NULL CHECK (on_grid(window_start)),
  batch_seq     bigint NOT NULL,
  mask          bit(900) NOT NULL
);
COMMENT ON COLUMN activity_mask.mask IS 'Bit n is set where an attempt ran in second n of the window; masks of batches merge by OR.';
CREATE INDEX ON activity_mask (window_start, engine_key_id);

-- What a large batch adds to windows, until many are summed at once (sums.sql).
CREATE TABLE pending_sum (
  batch_seq bigint PRIMARY KEY,
  stored_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  moves     int NOT NULL,
  reach     bigint NOT NULL CHECK (reach >= 0),
  sha256    bytea NOT NULL CHECK (octet_length(sha256) = 32),
  usage     bytea,
  marks     bytea,
  extras    bytea,
  activity  bytea,
  masks     bytea
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500,
        toast.autovacuum_vacuum_scale_factor = 0, toast.autovacuum_vacuum_threshold = 5000);
COMMENT ON TABLE pending_sum IS 'Rows of usage_delta, usage_mark, extra_delta, activity and activity_mask that are not summed yet, as frames (Arrow, zstd), NULL where there are none: no cut-off lies at or above one.';
COMMENT ON COLUMN pending_sum.moves IS 'How many rows all frames have together.';
COMMENT ON COLUMN pending_sum.reach IS 'No sum of its counts is beyond it, whatever their signs, and none over batches is beyond the sum of theirs.';
COMMENT ON COLUMN pending_sum.sha256 IS 'Of usage, marks, extras, activity and masks, one after the other.';
-- Compressed before they come.
ALTER TABLE pending_sum ALTER COLUMN usage SET STORAGE EXTERNAL, ALTER COLUMN marks SET STORAGE EXTERNAL,
                        ALTER COLUMN extras SET STORAGE EXTERNAL,
                        ALTER COLUMN activity SET STORAGE EXTERNAL, ALTER COLUMN masks SET STORAGE EXTERNAL;

-- What was stored since a run is found by BRIN on batch_seq, which leads past a page once VACUUM was there: by default not
-- before a fifth of the table is new, so that of a table of years each run would read months.
CREATE FUNCTION vacuum_soon(appended regclass) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE format('ALTER TABLE %s SET (autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 100000)',
                 appended);
END $$;
COMMENT ON FUNCTION vacuum_soon(regclass) IS 'Has a table that is only appended to vacuumed, and so its BRIN summarised, after each hundred thousand rows.';
REVOKE ALL ON FUNCTION vacuum_soon(regclass) FROM PUBLIC;

-- Partitions are made days ahead; there is no default partition, so that nothing lands unnoticed.
-- A partition made beside its parent and attached lets writers go on; made as PARTITION OF it would wait for all of
-- them, and every other writer for it.
CREATE FUNCTION ensure_partitions(first_day date, days int) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET lock_timeout = '2s' AS $$
DECLARE
  parent text;
  part text;
  day date;
  made int := 0;
  -- Named, because what is made without a schema goes into the first of the path.
  home name := (SELECT n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                 WHERE c.oid = 'usage_fact'::regclass);
BEGIN
  PERFORM pg_advisory_xact_lock(lock_class('partitions'), 0);
  FOREACH parent IN ARRAY ARRAY['usage_fact', 'usage_chunk', 'merged_chunk', 'usage_extra', 'gpu_reading', 'meter_gap',
                               'counter_reading'] LOOP
    FOR n IN 0 .. days - 1 LOOP
      day := first_day + n;
      part := parent || to_char(day, '_YYYYMMDD');
      IF to_regclass(format('%I', part)) IS NULL THEN
        EXECUTE format('CREATE TABLE %I.%I (LIKE %I INCLUDING ALL)', home, part, parent);
        EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
                       parent, part, day, day + 1);
        PERFORM vacuum_soon(format('%I.%I', home, part)::regclass);
        IF parent = 'usage_fact' THEN
          EXECUTE format('CREATE TRIGGER only_merged_go AFTER DELETE ON %I.%I REFERENCING OLD TABLE AS gone
                          FOR EACH STATEMENT EXECUTE FUNCTION refuse_going_but_merged()', home, part);
        END IF;
        made := made + 1;
      END IF;
    END LOOP;
  END LOOP;
  RETURN made;
END $$;

CREATE TABLE loaded_file (
  sha256    bytea PRIMARY KEY CHECK (octet_length(sha256) = 32),
  source    text NOT NULL,
  loaded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  actor     text NOT NULL
);
COMMENT ON TABLE loaded_file IS 'Files of past requests by their unpacked bytes, and the source they were loaded as first.';
