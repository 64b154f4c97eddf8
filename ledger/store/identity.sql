-- name: find_identity_secret
-- The key by which row-level security believes who asks.
SELECT secret FROM identity_key;

-- name: find_asking_place
-- This session and transaction, as they are signed.
SELECT asking_place();

-- name: say_who_asks
-- Tells row-level security who asks, for this transaction.
SELECT set_config('tokenledger.asking', :said, true), set_config('tokenledger.asking_signature', :signature, true);
