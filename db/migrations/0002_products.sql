-- The catalogue: products, what each has cost since when, and the answers of requests that may be repeated.
-- Nothing is ever deleted from it, since what was sold must stay explicable: the function has no DELETE on it.

-- migrate:up

SET LOCAL ROLE products_owner;
SET LOCAL search_path = products, extensions;

-- One spelling for comparing: composed, without accents, in lower case. It is immutable because the dictionary is named.
CREATE FUNCTION normalised(value text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN lower(extensions.unaccent('extensions.unaccent'::regdictionary, normalize(value, NFKC)));

-- A LIKE pattern for texts that contain the word, whatever characters it is made of.
CREATE FUNCTION containing(word text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN '%' || regexp_replace(normalised(word), '([\\%_])', '\\\1', 'g') || '%';

CREATE TABLE products (
  product_id  bigint GENERATED ALWAYS AS IDENTITY,
  sku         text        NOT NULL,
  name        text        NOT NULL,
  description text        NOT NULL DEFAULT '',
  category    text        NOT NULL DEFAULT 'uncategorised',
  price_cents bigint      NOT NULL,
  currency    text        NOT NULL,
  active      boolean     NOT NULL DEFAULT true,
  version     integer     NOT NULL DEFAULT 1,
  created_at  timestamptz NOT NULL DEFAULT now(),
  updated_at  timestamptz NOT NULL DEFAULT now(),
  sort_name   text        GENERATED ALWAYS AS (normalised(name)) STORED,
  search_text text        GENERATED ALWAYS AS (normalised(name || ' ' || sku || ' ' || description)) STORED,
  CONSTRAINT products_pkey PRIMARY KEY (product_id),
  CONSTRAINT products_sku_key UNIQUE (sku),
  CONSTRAINT products_sku_check CHECK (sku = btrim(sku) AND char_length(sku) BETWEEN 1 AND 64),
  CONSTRAINT products_name_check CHECK (name = btrim(name) AND char_length(name) BETWEEN 1 AND 200),
  CONSTRAINT products_description_check CHECK (char_length(description) <= 2000),
  CONSTRAINT products_category_check CHECK (category = btrim(category) AND char_length(category) BETWEEN 1 AND 80),
  CONSTRAINT products_price_cents_check CHECK (price_cents BETWEEN 0 AND 100000000),
  CONSTRAINT products_currency_check CHECK (currency ~ '^[A-Z]{3}$'),
  CONSTRAINT products_version_check CHECK (version > 0)
);

-- One for each order of the list, with the key that makes it total.
CREATE INDEX products_sort_name ON products (sort_name, product_id);
CREATE INDEX products_price_cents ON products (price_cents, product_id);
CREATE INDEX products_category ON products (category, sort_name, product_id);
-- The search for words anywhere in a text.
CREATE INDEX products_search_text ON products USING gin (search_text extensions.gin_trgm_ops);

CREATE TABLE prices (
  price_id    bigint GENERATED ALWAYS AS IDENTITY,
  product_id  bigint      NOT NULL,
  price_cents bigint      NOT NULL,
  currency    text        NOT NULL,
  changed_at  timestamptz NOT NULL DEFAULT now(),
  changed_by  text        NOT NULL,
  CONSTRAINT prices_pkey PRIMARY KEY (price_id),
  CONSTRAINT prices_product_id_fkey FOREIGN KEY (product_id) REFERENCES products (product_id)
);
CREATE INDEX prices_product_id ON prices (product_id, price_id DESC);

-- The history is written by the table itself, so no statement can forget it; the function may only read it.
CREATE FUNCTION record_price() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = products, pg_temp
AS $$
BEGIN
  INSERT INTO prices (product_id, price_cents, currency, changed_by)
  VALUES (NEW.product_id, NEW.price_cents, NEW.currency,
          coalesce(nullif(current_setting('products.changed_by', true), ''), 'unknown'));
  RETURN NULL;
END $$;

CREATE TRIGGER first_price AFTER INSERT ON products
FOR EACH ROW EXECUTE FUNCTION record_price();

CREATE TRIGGER changed_price AFTER UPDATE ON products
FOR EACH ROW WHEN ((OLD.price_cents, OLD.currency) IS DISTINCT FROM (NEW.price_cents, NEW.currency))
EXECUTE FUNCTION record_price();

-- functions/shared/idempotency.py says how it is used.
CREATE TABLE idempotency_keys (
  principal   text        NOT NULL,
  route       text        NOT NULL,
  key         text        NOT NULL,
  body_sha256 bytea       NOT NULL,
  status      smallint    NOT NULL,
  headers     jsonb       NOT NULL,
  body        bytea       NOT NULL,
  expires_at  timestamptz NOT NULL,
  CONSTRAINT idempotency_keys_pkey PRIMARY KEY (principal, route, key)
);
CREATE INDEX idempotency_keys_expires_at ON idempotency_keys (expires_at);

GRANT EXECUTE ON FUNCTION normalised, containing TO products;
GRANT SELECT, INSERT, UPDATE ON products TO products;
GRANT SELECT ON prices TO products;
GRANT SELECT, INSERT, UPDATE, DELETE ON idempotency_keys TO products;

-- dbmate notes the migration in the same transaction, in a table of its own.
RESET ROLE;
RESET search_path;

-- migrate:down

DROP TABLE products.idempotency_keys;
DROP TABLE products.prices;
DROP TABLE products.products;
DROP FUNCTION products.record_price;
DROP FUNCTION products.containing;
DROP FUNCTION products.normalised;
