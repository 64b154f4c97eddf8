-- name: find_identity_secret
-- The key by which row-level security believes who asks.
SELECT secret FROM identity_key;

-- name: find_asking_place
-- This session and transaction, as they are signed.
SELECT asking_place();

-- name: say_who_asks
-- Tells row-level security who asks, for this transaction.
SELECT set_config('tokenledger.asking', :said, true), set_config('tokenledger.asking_signature', :signature, true);

-- name: read_by_key
-- What is read, as whoever asks by a key may see it; the key and its proof come last.
WITH asks AS MATERIALIZED (SELECT ask_by_key(:key_id, :proof) AS said)
SELECT q.* FROM (SELECT 'what is read') q WHERE (SELECT a.said FROM asks a);
