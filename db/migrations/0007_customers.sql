-- Accounts of customers and staff: registering, signing in, addresses. Signs the tokens that every function verifies.
-- No password and no token is in here, only their digests; what a person asks to have erased is set to null in one row.

-- migrate:up

CALL public.create_function_home('customers');

SET LOCAL ROLE customers_owner;

CREATE FUNCTION customers.normalised(value text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN lower(extensions.unaccent('extensions.unaccent'::regdictionary, normalize(value, NFKC)));
COMMENT ON FUNCTION customers.normalised IS 'Text without case and accents, for searching and sorting.';

CREATE FUNCTION customers.containing(word text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN '%' || regexp_replace(customers.normalised(word), '([\\%_])', '\\\1', 'g') || '%';
COMMENT ON FUNCTION customers.containing IS 'The LIKE pattern of texts that hold this word.';

CREATE TABLE customers.accounts (
  customer_id uuid NOT NULL DEFAULT gen_random_uuid(),
  role text NOT NULL,
  store text,
  email text,
  email_key text,
  name text,
  phone text,
  language text,
  password_hash text,
  version integer NOT NULL DEFAULT 1,
  registrations integer NOT NULL DEFAULT 1,
  created_at timestamptz NOT NULL DEFAULT now(),
  changed_at timestamptz NOT NULL DEFAULT now(),
  password_changed_at timestamptz NOT NULL DEFAULT now(),
  deactivated_at timestamptz,
  deactivated_by text,
  erased_at timestamptz,
  sort_name text GENERATED ALWAYS AS (customers.normalised(coalesce(name, ''))) STORED,
  search_text text GENERATED ALWAYS AS (customers.normalised(coalesce(name || ' ' || email, ''))) STORED,
  CONSTRAINT accounts_pkey PRIMARY KEY (customer_id),
  -- One account for one address, however it is written.
  CONSTRAINT accounts_email_key_key UNIQUE (email_key),
  CONSTRAINT accounts_email_check CHECK (octet_length(email) <= 1000 AND octet_length(email_key) <= 1000),
  CONSTRAINT accounts_role_check CHECK (role IN ('customer', 'staff', 'hq')),
  CONSTRAINT accounts_store_check CHECK ((role = 'staff') = (store IS NOT NULL)),
  CONSTRAINT accounts_store_code_check CHECK (store ~ '^[A-Z][A-Z0-9]{0,9}$'),
  CONSTRAINT accounts_name_check CHECK (name = btrim(name) AND char_length(name) BETWEEN 1 AND 200),
  CONSTRAINT accounts_version_check CHECK (version > 0),
  CONSTRAINT accounts_deactivated_check CHECK ((deactivated_at IS NULL) = (deactivated_by IS NULL)),
  -- Until it is erased an account can be signed in to; afterwards nothing in it says whose it was.
  CONSTRAINT accounts_erased_check CHECK (
    CASE
      WHEN erased_at IS NULL THEN num_nulls(email, email_key, name, password_hash) = 0
      ELSE num_nonnulls(email, email_key, name, phone, language, password_hash, deactivated_at) = 0
    END
  )
)
-- Registering a taken address writes to its row, as a new one would be written; no index is touched then.
WITH (fillfactor = 80);
COMMENT ON TABLE customers.accounts IS
  'One row is one person who may sign in: a customer, or staff. customer_id is the subject of the tokens.';
COMMENT ON COLUMN customers.accounts.email IS 'As the person wrote it.';
COMMENT ON COLUMN customers.accounts.email_key IS 'The same in one form: NFKC and casefolded, the domain in ASCII (IDNA).';
COMMENT ON COLUMN customers.accounts.registrations IS
  'How often this address was registered: the first made the account, the others changed nothing but this.';
COMMENT ON COLUMN customers.accounts.version IS 'Counts the changes of the profile; its entity tag.';

-- The list for staff, and its search.
CREATE INDEX accounts_sort_name ON customers.accounts (sort_name, customer_id) WHERE erased_at IS NULL;
CREATE INDEX accounts_search ON customers.accounts USING gin (search_text extensions.gin_trgm_ops);

CREATE TABLE customers.addresses (
  address_id uuid NOT NULL DEFAULT gen_random_uuid(),
  customer_id uuid NOT NULL,
  name text NOT NULL,
  line1 text NOT NULL,
  line2 text,
  city text NOT NULL,
  province text NOT NULL,
  postal_code text NOT NULL,
  country text NOT NULL,
  phone text,
  is_default boolean NOT NULL,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  CONSTRAINT addresses_pkey PRIMARY KEY (address_id),
  CONSTRAINT addresses_customer_id_fkey FOREIGN KEY (customer_id) REFERENCES customers.accounts ON DELETE CASCADE,
  CONSTRAINT addresses_country_check CHECK (country ~ '^[A-Z]{2}$')
);
COMMENT ON TABLE customers.addresses IS 'One row is one place that a customer has things sent to.';
CREATE INDEX addresses_customer_id ON customers.addresses (customer_id, created_at);
-- At most one default; the function sees to it that there is one as long as there is an address.
CREATE UNIQUE INDEX addresses_default ON customers.addresses (customer_id) WHERE is_default;

CREATE TABLE customers.sessions (
  session_id uuid NOT NULL DEFAULT gen_random_uuid(),
  customer_id uuid NOT NULL,
  origin_sha256 bytea NOT NULL,
  started_at timestamptz NOT NULL DEFAULT now(),
  refreshed_at timestamptz NOT NULL DEFAULT now(),
  expires_at timestamptz NOT NULL,
  ended_at timestamptz,
  ended_by text,
  CONSTRAINT sessions_pkey PRIMARY KEY (session_id),
  CONSTRAINT sessions_customer_id_fkey FOREIGN KEY (customer_id) REFERENCES customers.accounts ON DELETE CASCADE,
  CONSTRAINT sessions_ended_check CHECK ((ended_at IS NULL) = (ended_by IS NULL)),
  CONSTRAINT sessions_ended_by_check CHECK (
    ended_by IN ('sign_out', 'sign_out_everywhere', 'password_change', 'reuse', 'deactivation', 'limit')
  )
);
COMMENT ON TABLE customers.sessions IS
  'One row is one sign-in with all refresh tokens that follow from it: a family, which ends as a whole.';
COMMENT ON COLUMN customers.sessions.origin_sha256 IS
  'Digest of the account and the network address that it was signed in from; who comes from there again is known.';
CREATE INDEX sessions_customer_id ON customers.sessions (customer_id, started_at);
-- Finds sessions to forget without reading those that live.
CREATE INDEX sessions_expires_at ON customers.sessions (expires_at);

CREATE TABLE customers.refresh_tokens (
  token_sha256 bytea NOT NULL,
  session_id uuid NOT NULL,
  issued_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  expires_at timestamptz NOT NULL,
  used_at timestamptz,
  successor_salt bytea,
  CONSTRAINT refresh_tokens_pkey PRIMARY KEY (token_sha256),
  CONSTRAINT refresh_tokens_session_id_fkey FOREIGN KEY (session_id) REFERENCES customers.sessions ON DELETE CASCADE,
  CONSTRAINT refresh_tokens_token_sha256_check CHECK (octet_length(token_sha256) = 32),
  CONSTRAINT refresh_tokens_used_check CHECK ((used_at IS NULL) = (successor_salt IS NULL))
);
COMMENT ON TABLE customers.refresh_tokens IS
  'One row is one refresh token that was given out; the token itself is not kept, so who reads this cannot use it.';
COMMENT ON COLUMN customers.refresh_tokens.successor_salt IS
  'With the token itself this gives the token that replaced it, so that a lost answer can be given again.';
-- One token of a session can be used, and no more: two at once can never both be replaced.
CREATE UNIQUE INDEX refresh_tokens_unused ON customers.refresh_tokens (session_id) WHERE used_at IS NULL;
CREATE INDEX refresh_tokens_session_id ON customers.refresh_tokens (session_id, used_at);

-- Counters of guesses. Not logged: losing them in a crash costs an attacker nothing worth having, and a guess
-- then waits for no disk. Bounded by its key: whoever shares a slot shares its counter.
CREATE UNLOGGED TABLE customers.guesses (
  kind text NOT NULL,
  slot integer NOT NULL,
  full_at timestamptz NOT NULL,
  CONSTRAINT guesses_pkey PRIMARY KEY (kind, slot),
  CONSTRAINT guesses_kind_check CHECK (kind IN ('account', 'address', 'pair')),
  CONSTRAINT guesses_slot_check CHECK (slot BETWEEN 0 AND 65535)
)
WITH (fillfactor = 50);
COMMENT ON TABLE customers.guesses IS
  'One row is a bucket of guesses, at most 3 × 65,536 of them; full_at is when it will be full again.';

CREATE TABLE customers.erasures (
  customer_id uuid NOT NULL,
  requested_at timestamptz NOT NULL DEFAULT now(),
  done_at timestamptz,
  CONSTRAINT erasures_pkey PRIMARY KEY (customer_id),
  CONSTRAINT erasures_customer_id_fkey FOREIGN KEY (customer_id) REFERENCES customers.accounts
);
COMMENT ON TABLE customers.erasures IS
  'One row is a person to be forgotten by the other functions, too; done_at says that all of them have.';
CREATE INDEX erasures_open ON customers.erasures (requested_at, customer_id) WHERE done_at IS NULL;

GRANT EXECUTE ON FUNCTION customers.normalised, customers.containing TO customers;
GRANT SELECT, INSERT ON customers.accounts TO customers;
GRANT UPDATE (
  email, email_key, name, phone, language, password_hash, version, registrations, changed_at,
  password_changed_at, deactivated_at, deactivated_by, erased_at
) ON customers.accounts TO customers;
GRANT SELECT, INSERT, DELETE ON customers.addresses TO customers;
GRANT UPDATE (name, line1, line2, city, province, postal_code, country, phone, is_default)
  ON customers.addresses TO customers;
GRANT SELECT, INSERT, DELETE ON customers.sessions, customers.refresh_tokens TO customers;
GRANT UPDATE (refreshed_at, expires_at, ended_at, ended_by) ON customers.sessions TO customers;
GRANT UPDATE (used_at, successor_salt) ON customers.refresh_tokens TO customers;
GRANT SELECT, INSERT ON customers.guesses TO customers;
GRANT UPDATE (full_at) ON customers.guesses TO customers;
GRANT SELECT, INSERT ON customers.erasures TO customers;
GRANT UPDATE (done_at) ON customers.erasures TO customers;

RESET ROLE;

-- migrate:down

DROP TABLE customers.erasures;
DROP TABLE customers.guesses;
DROP TABLE customers.refresh_tokens;
DROP TABLE customers.sessions;
DROP TABLE customers.addresses;
DROP TABLE customers.accounts;
DROP FUNCTION customers.containing;
DROP FUNCTION customers.normalised;

CALL public.drop_function_home('customers');
