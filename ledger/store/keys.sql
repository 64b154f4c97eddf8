-- name: insert_api_key
-- A new key, by the hash of its secret.
INSERT INTO api_key (key_id, key_hash, role, name, entity_id, customer_id, sources, customers, tier,
                     batch_seq)
VALUES (:key_id, :key_hash, :role, :name, :entity_id, :customer_id, :sources, :customers, :tier,
        :batch_seq);

-- name: find_api_keys
-- Keys and when each was revoked (NULL: it was not), by their primary key.
SELECT k.key_id, k.key_hash, k.role, k.name, k.entity_id, k.customer_id, k.sources, k.customers,
       k.tier, k.created_at, r.revoked_at
  FROM api_key k LEFT JOIN api_key_revocation r USING (key_id)
 WHERE k.key_id = ANY(:key_ids);

-- name: list_api_keys
-- Every key with when it was revoked, oldest first; a scan.
SELECT k.key_id, k.key_hash, k.role, k.name, k.entity_id, k.customer_id, k.sources, k.customers,
       k.tier, k.created_at, r.revoked_at
  FROM api_key k LEFT JOIN api_key_revocation r USING (key_id)
 ORDER BY k.created_at, k.key_id;

-- name: insert_revocation
-- Revokes a key once.
INSERT INTO api_key_revocation (key_id, batch_seq) VALUES (:key_id, :batch_seq)
ON CONFLICT (key_id) DO NOTHING;
