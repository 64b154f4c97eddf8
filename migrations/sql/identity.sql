-- Who asks: role api says it in two settings, and everybody could set those; row-level security believes what is
-- signed. The key is the worker's to read; a signature holds for one session and one transaction.
CREATE TABLE identity_key (
  only_row  boolean PRIMARY KEY DEFAULT true CHECK (only_row),
  secret    bytea NOT NULL CHECK (length(secret) = 32),
  inner_pad bytea NOT NULL CHECK (length(inner_pad) = 64),
  outer_pad bytea NOT NULL CHECK (length(outer_pad) = 64)
);
COMMENT ON TABLE identity_key IS 'The key of HMAC-SHA-256 over who asks, and the two blocks it begins its hashes with.';
DO $$
DECLARE
  drawn bytea := sha256(convert_to(gen_random_uuid()::text || gen_random_uuid()::text || gen_random_uuid()::text, 'UTF8'));
  inside bytea := drawn || decode(repeat('00', 32), 'hex');
  outside bytea := inside;
BEGIN
  FOR n IN 0 .. 63 LOOP
    inside := set_byte(inside, n, get_byte(inside, n) # 54);
    outside := set_byte(outside, n, get_byte(outside, n) # 92);
  END LOOP;
  INSERT INTO identity_key (secret, inner_pad, outer_pad) VALUES (drawn, inside, outside);
END $$;

-- What is signed besides who asks: this session, and this transaction by the microsecond it began in.
CREATE FUNCTION asking_place() RETURNS text LANGUAGE sql STABLE PARALLEL RESTRICTED
  RETURN pg_backend_pid() || '/' || (extract(epoch FROM now()) * 1000000)::bigint;

-- {role, customer, entity} of whoever asks, or NULL where nobody said so or the signature is not ours.
CREATE FUNCTION asking() RETURNS jsonb
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER AS $$
DECLARE
  said text := current_setting('tokenledger.asking', true);
  signature text := current_setting('tokenledger.asking_signature', true);
  expected bytea;
BEGIN
  IF coalesce(said, '') = '' OR coalesce(signature, '') = '' THEN
    RETURN NULL;
  END IF;
  SELECT sha256(k.outer_pad || sha256(k.inner_pad || convert_to(asking_place() || '/' || said, 'UTF8')))
    INTO expected FROM identity_key k;
  RETURN CASE WHEN encode(expected, 'hex') = signature THEN said::jsonb END;
END $$;

-- Says who asks for this transaction by a key that holds: the role, customer and entity are the key's own. Who has
-- not what signs cannot make `proof`, which is for one session; so a read and who asks it are one statement.
CREATE FUNCTION ask_by_key(id text, proof text) RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER AS $$
DECLARE
  signing identity_key;
  said text;
BEGIN
  SELECT k.* INTO signing FROM identity_key k;
  IF encode(sha256(signing.outer_pad || sha256(signing.inner_pad ||
       convert_to(pg_backend_pid() || '/key/' || id, 'UTF8'))), 'hex') IS DISTINCT FROM proof THEN
    RAISE EXCEPTION 'nobody asks' USING ERRCODE = 'invalid_authorization_specification';
  END IF;
  SELECT jsonb_build_object('role', k.role, 'customer', k.customer_id, 'entity', k.entity_id) INTO said FROM api_key k
   WHERE k.key_id = id AND NOT EXISTS (SELECT FROM api_key_revocation r WHERE r.key_id = id);
  IF said IS NULL THEN
    RAISE EXCEPTION 'the key is unknown or revoked' USING ERRCODE = 'invalid_authorization_specification';
  END IF;
  PERFORM set_config('tokenledger.asking', said, true),
          set_config('tokenledger.asking_signature', encode(sha256(signing.outer_pad || sha256(signing.inner_pad ||
            convert_to(asking_place() || '/' || said, 'UTF8'))), 'hex'), true);
  RETURN true;
END $$;

CREATE FUNCTION asking_role() RETURNS text LANGUAGE sql STABLE PARALLEL RESTRICTED
  RETURN asking() ->> 'role';
CREATE FUNCTION asks_for_the_house() RETURNS boolean LANGUAGE sql STABLE PARALLEL RESTRICTED
  RETURN coalesce(asking_role() IN ('admin', 'finance'), false);
-- A key of the house that is bound to no entity.
CREATE FUNCTION sees_all() RETURNS boolean LANGUAGE sql STABLE PARALLEL RESTRICTED
  RETURN (SELECT coalesce(a ->> 'role' IN ('admin', 'finance') AND a ->> 'entity' IS NULL, false) FROM asking() a);
-- The entity that a key of the house is bound to, and the customer of a customer's key; NULL for everybody else.
CREATE FUNCTION asking_entity() RETURNS text LANGUAGE sql STABLE PARALLEL RESTRICTED
  RETURN (SELECT CASE WHEN a ->> 'role' IN ('admin', 'finance') THEN a ->> 'entity' END FROM asking() a);
CREATE FUNCTION asking_customer() RETURNS text LANGUAGE sql STABLE PARALLEL RESTRICTED
  RETURN (SELECT CASE WHEN a ->> 'role' = 'customer' THEN a ->> 'customer' END FROM asking() a);
-- Whom a customer's key may see: itself, and who is below it now.
CREATE FUNCTION asking_customers() RETURNS text[]
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER AS $$
DECLARE
  own text := asking_customer();
BEGIN
  RETURN CASE WHEN own IS NOT NULL THEN
    own || ARRAY(SELECT a.customer_id FROM customer_above a
                  WHERE a.above_id = own AND upper_inf(a.recorded) AND a.valid @> now()) END;
END $$;
