-- Carts of the web shop and what is in them.
-- Every change to a cart's items happens while its row in carts is locked; that is what makes two replicas safe.

-- migrate:up

SET LOCAL ROLE cart_owner;

CREATE TABLE cart.carts (
  cart_id uuid NOT NULL DEFAULT gen_random_uuid(),
  token_sha256 bytea,
  customer_id text,
  version integer NOT NULL DEFAULT 1,
  created_at timestamptz NOT NULL DEFAULT now(),
  changed_at timestamptz NOT NULL DEFAULT now(),
  expires_at timestamptz NOT NULL,
  CONSTRAINT carts_pkey PRIMARY KEY (cart_id),
  -- The token itself is not kept: who reads the table cannot open a cart with it.
  CONSTRAINT carts_token_sha256_key UNIQUE (token_sha256),
  CONSTRAINT carts_token_sha256_check CHECK (octet_length(token_sha256) = 32),
  CONSTRAINT carts_customer_id_key UNIQUE (customer_id),
  CONSTRAINT carts_customer_id_check CHECK (char_length(customer_id) BETWEEN 1 AND 200),
  CONSTRAINT carts_holder_check CHECK (num_nonnulls(token_sha256, customer_id) = 1),
  CONSTRAINT carts_version_check CHECK (version > 0)
);
COMMENT ON TABLE cart.carts IS
  'One row is one cart, held by the bearer of a token or by a customer; past expires_at it no longer exists for anyone.';
COMMENT ON COLUMN cart.carts.customer_id IS 'The subject of the customer''s tokens.';
COMMENT ON COLUMN cart.carts.version IS 'Counts the changes; the entity tag of the cart.';

-- Finds carts to expire without reading those that live.
CREATE INDEX carts_expires_at ON cart.carts (expires_at);

CREATE TABLE cart.items (
  cart_id uuid NOT NULL,
  sku text NOT NULL,
  quantity integer NOT NULL,
  product_id bigint NOT NULL,
  product_version integer NOT NULL,
  name text NOT NULL,
  unit_price_cents bigint NOT NULL,
  available boolean NOT NULL,
  previous_price_cents bigint,
  price_changed_at timestamptz,
  added_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  CONSTRAINT items_pkey PRIMARY KEY (cart_id, sku),
  CONSTRAINT items_cart_id_fkey FOREIGN KEY (cart_id) REFERENCES cart.carts ON DELETE CASCADE,
  -- The largest quantity any setting may allow; the setting in force is checked by the function.
  CONSTRAINT items_quantity_check CHECK (quantity BETWEEN 1 AND 10000),
  CONSTRAINT items_unit_price_cents_check CHECK (unit_price_cents >= 0),
  CONSTRAINT items_previous_price_check CHECK ((previous_price_cents IS NULL) = (price_changed_at IS NULL))
);
COMMENT ON TABLE cart.items IS
  'One row is a quantity of one product in one cart, with the product as it was last shown to the cart''s holder.';
COMMENT ON COLUMN cart.items.product_version IS
  'Version of the product that name, price and availability were taken from; older ones never overwrite it.';
COMMENT ON COLUMN cart.items.previous_price_cents IS
  'What the holder was shown before the price changed; forgotten when the holder changes the quantity.';

CREATE TABLE cart.idempotency_keys (
  principal text NOT NULL,
  route text NOT NULL,
  key text NOT NULL,
  body_sha256 bytea NOT NULL,
  status smallint NOT NULL,
  headers jsonb NOT NULL,
  body bytea NOT NULL,
  expires_at timestamptz NOT NULL,
  CONSTRAINT idempotency_keys_pkey PRIMARY KEY (principal, route, key)
);
COMMENT ON TABLE cart.idempotency_keys IS 'One row is the answer that a repeated request with the same key gets.';
CREATE INDEX idempotency_keys_expires_at ON cart.idempotency_keys (expires_at);

GRANT SELECT, INSERT, DELETE ON cart.carts TO cart;
GRANT UPDATE (version, changed_at, expires_at) ON cart.carts TO cart;
GRANT SELECT, INSERT, DELETE ON cart.items TO cart;
GRANT UPDATE (
  quantity, product_version, name, unit_price_cents, available, previous_price_cents, price_changed_at
) ON cart.items TO cart;
GRANT SELECT, INSERT, UPDATE, DELETE ON cart.idempotency_keys TO cart;

RESET ROLE;

-- migrate:down

DROP TABLE cart.idempotency_keys;
DROP TABLE cart.items;
DROP TABLE cart.carts;
