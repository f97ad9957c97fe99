-- Stock by location and SKU, the ledger of every movement of it, and what is promised.
-- The rules that keep it right are constraints here; that each change writes the ledger is the one statement of the function.

-- migrate:up

CALL public.create_function_home('inventory');
-- Each of its prepared statements has one good plan whatever the values; planning again for each took longer than running.
ALTER ROLE inventory SET plan_cache_mode = 'force_generic_plan';

SET LOCAL ROLE inventory_owner;

CREATE TABLE inventory.locations (
  location text NOT NULL,
  name text NOT NULL,
  kind text NOT NULL,
  time_zone text NOT NULL,
  CONSTRAINT locations_pkey PRIMARY KEY (location),
  CONSTRAINT locations_location_check CHECK (location ~ '^[A-Z][A-Z0-9]{0,9}$'),
  CONSTRAINT locations_kind_check CHECK (kind IN ('store', 'warehouse'))
);
COMMENT ON TABLE inventory.locations IS
  'One row is a place that keeps stock; opening or closing one is a migration.';
COMMENT ON COLUMN inventory.locations.time_zone IS 'IANA name; a day of a store is a day of its time zone.';

INSERT INTO inventory.locations (location, name, kind, time_zone)
VALUES
  ('S1', 'Montréal – Sainte-Catherine', 'store', 'America/Toronto'),
  ('S2', 'Québec – Saint-Roch', 'store', 'America/Toronto'),
  ('S3', 'Toronto – Queen West', 'store', 'America/Toronto'),
  ('S4', 'Halifax – Barrington', 'store', 'America/Halifax'),
  ('S5', 'Vancouver – Main Street', 'store', 'America/Vancouver'),
  ('W1', 'Laval – warehouse and web shop', 'warehouse', 'America/Toronto');

CREATE TABLE inventory.stock (
  location text NOT NULL,
  sku text NOT NULL,
  on_hand integer NOT NULL DEFAULT 0,
  reserved integer NOT NULL DEFAULT 0,
  low_at integer,
  changed_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT stock_pkey PRIMARY KEY (location, sku),
  CONSTRAINT stock_location_fkey FOREIGN KEY (location) REFERENCES inventory.locations,
  CONSTRAINT stock_sku_check CHECK (sku = btrim(sku) AND char_length(sku) BETWEEN 1 AND 64),
  -- Never oversold. The upper bound keeps sums of a few rows within an integer.
  CONSTRAINT stock_on_hand_check CHECK (on_hand >= 0),
  CONSTRAINT stock_on_hand_limit CHECK (on_hand <= 100000000),
  CONSTRAINT stock_reserved_check CHECK (reserved BETWEEN 0 AND on_hand),
  CONSTRAINT stock_low_at_check CHECK (low_at BETWEEN 0 AND 100000000)
)
-- Room on each page for the next version of a row that is changed all the time: no index is touched then.
WITH (fillfactor = 70);
COMMENT ON TABLE inventory.stock IS
  'One row is what one location has of one SKU; on_hand is the sum of its ledger, reserved that of its open reservations.';
COMMENT ON COLUMN inventory.stock.low_at IS 'At or below this many available it is low; null: never.';

-- One SKU over all locations.
CREATE INDEX stock_sku ON inventory.stock (sku, location);
-- What can be low; neither column changes when stock does.
CREATE INDEX stock_low_at ON inventory.stock (location, sku) WHERE low_at IS NOT NULL;

CREATE TABLE inventory.ledger (
  movement_id bigint GENERATED ALWAYS AS IDENTITY,
  moved_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  location text NOT NULL,
  sku text NOT NULL,
  quantity integer NOT NULL,
  on_hand integer NOT NULL,
  kind text NOT NULL,
  reason text,
  reference text,
  moved_by text NOT NULL,
  CONSTRAINT ledger_pkey PRIMARY KEY (movement_id),
  CONSTRAINT ledger_stock_fkey FOREIGN KEY (location, sku) REFERENCES inventory.stock,
  CONSTRAINT ledger_on_hand_check CHECK (on_hand >= 0),
  CONSTRAINT ledger_reason_check CHECK (char_length(reason) BETWEEN 1 AND 200),
  CONSTRAINT ledger_reference_check CHECK (char_length(reference) BETWEEN 1 AND 100),
  CONSTRAINT ledger_kind_check CHECK (
    CASE
      WHEN kind IN ('receipt', 'transfer_in', 'sale_undone', 'return') THEN quantity > 0
      WHEN kind IN ('write_off', 'transfer_out', 'sale') THEN quantity < 0
      WHEN kind = 'adjustment' THEN quantity <> 0 AND reason IS NOT NULL
      ELSE false
    END
  )
);
COMMENT ON TABLE inventory.ledger IS
  'One row is one movement of one SKU into (above zero) or out of (below) one location; it is never changed nor deleted.';
COMMENT ON COLUMN inventory.ledger.on_hand IS 'What was there afterwards.';

-- The history of a row of stock, and the sum of its movements.
CREATE INDEX ledger_stock ON inventory.ledger (location, sku, movement_id) INCLUDE (quantity);
-- What one sale, return or delivery has moved.
CREATE INDEX ledger_reference ON inventory.ledger (reference, movement_id) WHERE reference IS NOT NULL;

CREATE FUNCTION inventory.refuse_change() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
  RAISE EXCEPTION '% on % is refused: it is append-only', TG_OP, TG_TABLE_NAME
  USING ERRCODE = 'insufficient_privilege';
END $$;
COMMENT ON FUNCTION inventory.refuse_change IS 'Keeps even the owner of a table from changing what is recorded in it.';

CREATE TRIGGER ledger_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON inventory.ledger
FOR EACH STATEMENT EXECUTE FUNCTION inventory.refuse_change();

CREATE TABLE inventory.issues (
  reference text NOT NULL,
  state text NOT NULL,
  location text,
  lines jsonb,
  issued_at timestamptz,
  undone_at timestamptz,
  CONSTRAINT issues_pkey PRIMARY KEY (reference),
  CONSTRAINT issues_location_fkey FOREIGN KEY (location) REFERENCES inventory.locations,
  CONSTRAINT issues_reference_check CHECK (char_length(reference) BETWEEN 1 AND 100),
  CONSTRAINT issues_state_check CHECK (
    CASE state
      WHEN 'issued' THEN issued_at IS NOT NULL AND undone_at IS NULL
      WHEN 'undone' THEN undone_at IS NOT NULL
      ELSE false
    END
  ),
  -- Undone without having been issued: nothing is known of it but that it must never be.
  CONSTRAINT issues_content_check CHECK (
    num_nonnulls(location, lines, issued_at) IN (0, 3)
  )
);
COMMENT ON TABLE inventory.issues IS
  'One row is stock that left for what the reference names (a sale), or that never may any more.';

CREATE TABLE inventory.goods_returns (
  reference text NOT NULL,
  location text NOT NULL,
  lines jsonb NOT NULL,
  restock boolean NOT NULL,
  returned_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT goods_returns_pkey PRIMARY KEY (reference),
  CONSTRAINT goods_returns_location_fkey FOREIGN KEY (location) REFERENCES inventory.locations,
  CONSTRAINT goods_returns_reference_check CHECK (char_length(reference) BETWEEN 1 AND 100)
);
COMMENT ON TABLE inventory.goods_returns IS 'One row is goods that came back, restocked or written off.';

CREATE TABLE inventory.bulk_receipts (
  reference text NOT NULL,
  lines_sha256 bytea NOT NULL,
  received_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT bulk_receipts_pkey PRIMARY KEY (reference),
  CONSTRAINT bulk_receipts_reference_check CHECK (char_length(reference) BETWEEN 1 AND 100)
);
COMMENT ON TABLE inventory.bulk_receipts IS 'One row is a batch of opening stock, which is received once, ever.';

CREATE TABLE inventory.reservations (
  reservation_id uuid NOT NULL,
  state text NOT NULL DEFAULT 'open',
  location text NOT NULL,
  reference text,
  created_at timestamptz NOT NULL DEFAULT now(),
  expires_at timestamptz NOT NULL,
  settled_at timestamptz,
  CONSTRAINT reservations_pkey PRIMARY KEY (reservation_id),
  CONSTRAINT reservations_reference_check CHECK (char_length(reference) BETWEEN 1 AND 100),
  CONSTRAINT reservations_state_check CHECK (
    state IN ('open', 'committed', 'released', 'expired') AND (state = 'open') = (settled_at IS NULL)
  )
);
COMMENT ON TABLE inventory.reservations IS
  'One row is a promise of stock; while it is open its lines are part of reserved in stock.';
COMMENT ON COLUMN inventory.reservations.location IS
  'Has a row of stock for each line, thus exists; a foreign key would have all reservations share a lock on one row.';

-- Finds what is to expire without reading what is settled.
CREATE INDEX reservations_open ON inventory.reservations (expires_at) WHERE state = 'open';

CREATE TABLE inventory.reservation_lines (
  reservation_id uuid NOT NULL,
  sku text NOT NULL,
  quantity integer NOT NULL,
  CONSTRAINT reservation_lines_pkey PRIMARY KEY (reservation_id, sku),
  CONSTRAINT reservation_lines_reservation_id_fkey
    FOREIGN KEY (reservation_id) REFERENCES inventory.reservations,
  CONSTRAINT reservation_lines_quantity_check CHECK (quantity > 0)
);

CREATE TABLE inventory.replenishments (
  replenishment_id bigint GENERATED ALWAYS AS IDENTITY,
  location text NOT NULL,
  state text NOT NULL DEFAULT 'requested',
  note text,
  asked_by text NOT NULL,
  asked_at timestamptz NOT NULL DEFAULT now(),
  decided_by text,
  decided_at timestamptz,
  reason text,
  CONSTRAINT replenishments_pkey PRIMARY KEY (replenishment_id),
  CONSTRAINT replenishments_location_fkey FOREIGN KEY (location) REFERENCES inventory.locations,
  CONSTRAINT replenishments_state_check CHECK (
    CASE state
      WHEN 'requested' THEN num_nonnulls(decided_by, decided_at, reason) = 0
      WHEN 'approved' THEN num_nonnulls(decided_by, decided_at) = 2 AND reason IS NULL
      WHEN 'refused' THEN num_nonnulls(decided_by, decided_at, reason) = 3
      ELSE false
    END
  )
);
COMMENT ON TABLE inventory.replenishments IS
  'One row is a store asking the warehouse for stock; approved, it was transferred in the same transaction.';
CREATE INDEX replenishments_location ON inventory.replenishments (location, replenishment_id DESC);
CREATE INDEX replenishments_requested ON inventory.replenishments (replenishment_id DESC) WHERE state = 'requested';

CREATE TABLE inventory.replenishment_lines (
  replenishment_id bigint NOT NULL,
  sku text NOT NULL,
  requested integer NOT NULL,
  approved integer,
  CONSTRAINT replenishment_lines_pkey PRIMARY KEY (replenishment_id, sku),
  CONSTRAINT replenishment_lines_replenishment_id_fkey
    FOREIGN KEY (replenishment_id) REFERENCES inventory.replenishments,
  CONSTRAINT replenishment_lines_requested_check CHECK (requested > 0),
  CONSTRAINT replenishment_lines_approved_check CHECK (approved BETWEEN 0 AND requested)
);

CREATE TABLE inventory.idempotency_keys (
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
COMMENT ON TABLE inventory.idempotency_keys IS 'One row is the answer that a repeated request with the same key gets.';
CREATE INDEX idempotency_keys_expires_at ON inventory.idempotency_keys (expires_at);

GRANT SELECT ON inventory.locations TO inventory;
GRANT SELECT, INSERT ON inventory.stock TO inventory;
GRANT UPDATE (on_hand, reserved, low_at, changed_at) ON inventory.stock TO inventory;
GRANT SELECT, INSERT ON inventory.ledger TO inventory;
GRANT SELECT, INSERT ON inventory.issues TO inventory;
GRANT UPDATE (state, undone_at) ON inventory.issues TO inventory;
GRANT SELECT, INSERT ON inventory.goods_returns TO inventory;
GRANT SELECT, INSERT ON inventory.bulk_receipts TO inventory;
GRANT SELECT, INSERT ON inventory.reservations TO inventory;
GRANT UPDATE (state, settled_at) ON inventory.reservations TO inventory;
GRANT SELECT, INSERT ON inventory.reservation_lines TO inventory;
GRANT SELECT, INSERT ON inventory.replenishments TO inventory;
GRANT UPDATE (state, decided_by, decided_at, reason) ON inventory.replenishments TO inventory;
GRANT SELECT, INSERT ON inventory.replenishment_lines TO inventory;
GRANT UPDATE (approved) ON inventory.replenishment_lines TO inventory;
GRANT SELECT, INSERT, UPDATE, DELETE ON inventory.idempotency_keys TO inventory;

RESET ROLE;

-- migrate:down

DROP TABLE inventory.idempotency_keys;
DROP TABLE inventory.replenishment_lines;
DROP TABLE inventory.replenishments;
DROP TABLE inventory.reservation_lines;
DROP TABLE inventory.reservations;
DROP TABLE inventory.bulk_receipts;
DROP TABLE inventory.goods_returns;
DROP TABLE inventory.issues;
DROP TABLE inventory.ledger;
DROP FUNCTION inventory.refuse_change;
DROP TABLE inventory.stock;
DROP TABLE inventory.locations;
CALL public.drop_function_home('inventory');
