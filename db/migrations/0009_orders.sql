-- Orders of the web shop from payment to delivery, cancelling and returns.
-- What an order may become is a table here, and no UPDATE leaves it, whoever sends it.

-- migrate:up

CALL public.create_function_home('orders');
SET LOCAL ROLE orders_owner;

CREATE TABLE orders.transitions (
  from_status text NOT NULL,
  to_status text NOT NULL,
  CONSTRAINT transitions_pkey PRIMARY KEY (from_status, to_status)
);
COMMENT ON TABLE orders.transitions IS 'One row is a step that an order may make; whatever is not here may not happen.';
INSERT INTO orders.transitions (from_status, to_status)
VALUES
  ('pending', 'paid'),
  ('pending', 'cancelled'),
  ('paid', 'packed'),
  ('paid', 'cancelled'),
  ('packed', 'shipped'),
  ('shipped', 'delivered'),
  ('shipped', 'returned'),
  ('delivered', 'returned'),
  ('cancelled', 'refunded'),
  ('returned', 'refunded');

CREATE TABLE orders.checkouts (
  checkout_id uuid NOT NULL,
  order_id uuid,
  reason text,
  seen_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT checkouts_pkey PRIMARY KEY (checkout_id),
  CONSTRAINT checkouts_order_id_key UNIQUE (checkout_id, order_id),
  CONSTRAINT checkouts_abandoned_check CHECK ((order_id IS NULL) = (reason IS NOT NULL))
);
COMMENT ON TABLE orders.checkouts IS
  'One row is a checkout: it has its one order, or was abandoned before it had one and never will.';

CREATE TABLE orders.orders (
  order_id uuid NOT NULL,
  number text NOT NULL,
  status text NOT NULL DEFAULT 'pending',
  checkout_id uuid NOT NULL,
  customer_id text NOT NULL,
  location text NOT NULL,
  time_zone text NOT NULL,
  reservation_id uuid NOT NULL,
  currency text NOT NULL,
  subtotal_cents bigint NOT NULL,
  taxes jsonb NOT NULL,
  tax_cents bigint NOT NULL,
  total_cents bigint GENERATED ALWAYS AS (subtotal_cents + tax_cents) STORED,
  captured_cents bigint,
  refunded_cents bigint NOT NULL DEFAULT 0,
  payment_reference text,
  address jsonb,
  carrier text,
  tracking text,
  content_sha256 bytea NOT NULL,
  changed_by text NOT NULL,
  change_note text,
  created_at timestamptz NOT NULL DEFAULT now(),
  paid_at timestamptz,
  packed_at timestamptz,
  shipped_at timestamptz,
  delivered_at timestamptz,
  cancelled_at timestamptz,
  returned_at timestamptz,
  refunded_at timestamptz,
  erased_at timestamptz,
  restocked_at timestamptz,
  placed_on date GENERATED ALWAYS AS (CAST(created_at AT TIME ZONE time_zone AS date)) STORED,
  sold_on date GENERATED ALWAYS AS (CAST(paid_at AT TIME ZONE time_zone AS date)) STORED,
  cancelled_on date GENERATED ALWAYS AS (CAST(cancelled_at AT TIME ZONE time_zone AS date)) STORED,
  tried_at timestamptz NOT NULL DEFAULT now(),
  trouble text,
  changed_xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
  CONSTRAINT orders_pkey PRIMARY KEY (order_id),
  CONSTRAINT orders_number_key UNIQUE (number),
  CONSTRAINT orders_number_check CHECK (number ~ '^[0-9A-HJKMNP-TV-Z]{9}$'),
  CONSTRAINT orders_checkout_id_key UNIQUE (checkout_id),
  CONSTRAINT orders_checkout_id_fkey FOREIGN KEY (checkout_id, order_id)
    REFERENCES orders.checkouts (checkout_id, order_id),
  CONSTRAINT orders_status_check CHECK (
    status IN ('pending', 'paid', 'packed', 'shipped', 'delivered', 'cancelled', 'returned', 'refunded')
  ),
  CONSTRAINT orders_amounts_check CHECK (subtotal_cents >= 0 AND tax_cents >= 0),
  -- Paid is paid in full, and says by what.
  CONSTRAINT orders_captured_check CHECK (captured_cents = subtotal_cents + tax_cents),
  CONSTRAINT orders_paid_check CHECK (
    (paid_at IS NULL) = (captured_cents IS NULL) AND (paid_at IS NULL) = (payment_reference IS NULL)
    AND (paid_at IS NOT NULL OR status IN ('pending', 'cancelled')) AND (status <> 'pending' OR paid_at IS NULL)
  ),
  -- Never more goes back than came.
  CONSTRAINT orders_refunded_cents_check CHECK (refunded_cents BETWEEN 0 AND COALESCE(captured_cents, 0)),
  CONSTRAINT orders_refunded_check CHECK (
    (status = 'refunded') = (refunded_at IS NOT NULL) AND (status <> 'refunded' OR refunded_cents = captured_cents)
  ),
  CONSTRAINT orders_packed_check CHECK (
    (packed_at IS NULL OR paid_at IS NOT NULL) AND (packed_at IS NOT NULL OR status NOT IN ('packed', 'shipped'))
  ),
  CONSTRAINT orders_shipped_check CHECK (
    (shipped_at IS NULL) = (carrier IS NULL) AND (shipped_at IS NULL OR packed_at IS NOT NULL)
    AND (shipped_at IS NOT NULL OR status NOT IN ('shipped', 'delivered', 'returned'))
    AND (tracking IS NULL OR shipped_at IS NOT NULL)
  ),
  CONSTRAINT orders_delivered_check CHECK (
    (delivered_at IS NULL OR shipped_at IS NOT NULL) AND (delivered_at IS NOT NULL OR status <> 'delivered')
  ),
  -- What was packed is not cancelled: it comes back.
  CONSTRAINT orders_cancelled_check CHECK (
    (cancelled_at IS NOT NULL OR status <> 'cancelled')
    AND (cancelled_at IS NULL OR (packed_at IS NULL AND status IN ('cancelled', 'refunded')))
  ),
  CONSTRAINT orders_returned_check CHECK (
    (returned_at IS NOT NULL OR status <> 'returned')
    AND (returned_at IS NULL OR (shipped_at IS NOT NULL AND status IN ('returned', 'refunded')))
  ),
  CONSTRAINT orders_restocked_check CHECK (restocked_at IS NULL OR (cancelled_at IS NOT NULL AND paid_at IS NOT NULL)),
  CONSTRAINT orders_address_check CHECK ((address IS NULL) = (erased_at IS NOT NULL))
);
COMMENT ON TABLE orders.orders IS
  'One row is one order. pending: its checkout is not done; cancelled and paid: the goods or the money are not known to be back yet.';
COMMENT ON COLUMN orders.orders.number IS 'What people read to each other: eight random characters and one that checks them.';
COMMENT ON COLUMN orders.orders.taxes IS '[{"name", "percent", "amount_cents"}]; tax_cents is their sum.';
COMMENT ON COLUMN orders.orders.changed_by IS 'Who made the last change of status; the history is written from it.';
COMMENT ON COLUMN orders.orders.address IS 'Nothing once the customer''s data was erased.';
COMMENT ON COLUMN orders.orders.restocked_at IS 'When the goods of a cancelled order were back in stock.';
COMMENT ON COLUMN orders.orders.trouble IS 'Why what is left of a cancelled order was last refused.';
COMMENT ON COLUMN orders.orders.changed_xid IS
  'The transaction that last changed what reports say of the order; whoever follows changes reads below the snapshot''s horizon.';

-- The orders of the list.
CREATE INDEX orders_by_time ON orders.orders (created_at DESC, order_id DESC);
CREATE INDEX orders_by_customer ON orders.orders (customer_id, created_at DESC, order_id DESC);
CREATE INDEX orders_by_location ON orders.orders (location, created_at DESC, order_id DESC);
CREATE INDEX orders_by_status ON orders.orders (status, created_at DESC, order_id DESC);
CREATE INDEX orders_by_day ON orders.orders (placed_on, created_at DESC, order_id DESC);
-- Finds what is left to finish.
CREATE INDEX orders_unsettled ON orders.orders (tried_at) WHERE status = 'cancelled' AND paid_at IS NOT NULL;
-- A day of reports, and what changed since a moment.
CREATE INDEX orders_sold_on ON orders.orders (sold_on, location) WHERE paid_at IS NOT NULL;
CREATE INDEX orders_cancelled_on ON orders.orders (cancelled_on, location)
WHERE cancelled_at IS NOT NULL AND refunded_at IS NOT NULL;
CREATE INDEX orders_changed_xid ON orders.orders (changed_xid) WHERE paid_at IS NOT NULL;

CREATE TABLE orders.order_lines (
  order_id uuid NOT NULL,
  line integer NOT NULL,
  sku text NOT NULL,
  name text NOT NULL,
  category text NOT NULL,
  quantity integer NOT NULL,
  unit_price_cents bigint NOT NULL,
  total_cents bigint GENERATED ALWAYS AS (quantity * unit_price_cents) STORED,
  tax_parts_cents bigint[] NOT NULL,
  tax_cents bigint NOT NULL,
  returned_quantity integer NOT NULL DEFAULT 0,
  returned_tax_parts_cents bigint[] NOT NULL,
  CONSTRAINT order_lines_pkey PRIMARY KEY (order_id, line),
  CONSTRAINT order_lines_order_id_fkey FOREIGN KEY (order_id) REFERENCES orders.orders,
  CONSTRAINT order_lines_quantity_check CHECK (quantity > 0),
  CONSTRAINT order_lines_unit_price_cents_check CHECK (unit_price_cents >= 0),
  -- Never more comes back than was sold, whoever asks at the same time.
  CONSTRAINT order_lines_returned_quantity_check CHECK (returned_quantity BETWEEN 0 AND quantity),
  CONSTRAINT order_lines_tax_parts_check CHECK (cardinality(tax_parts_cents) = cardinality(returned_tax_parts_cents))
);
COMMENT ON TABLE orders.order_lines IS 'One row is one line of an order, with the product as it was when it was ordered.';
COMMENT ON COLUMN orders.order_lines.tax_parts_cents IS
  'The line''s share of each of the order''s taxes, in their order; shares of all lines add up to the tax.';
COMMENT ON COLUMN orders.order_lines.returned_quantity IS 'What returns that are pending or complete have taken back.';
CREATE INDEX order_lines_sku ON orders.order_lines (sku, order_id);

CREATE TABLE orders.history (
  entry_id bigint GENERATED ALWAYS AS IDENTITY,
  order_id uuid NOT NULL,
  at timestamptz NOT NULL DEFAULT now(),
  who text NOT NULL,
  from_status text,
  to_status text NOT NULL,
  note text,
  CONSTRAINT history_pkey PRIMARY KEY (order_id, entry_id),
  CONSTRAINT history_order_id_fkey FOREIGN KEY (order_id) REFERENCES orders.orders,
  CONSTRAINT history_transition_fkey FOREIGN KEY (from_status, to_status) REFERENCES orders.transitions,
  CONSTRAINT history_first_check CHECK ((from_status IS NULL) = (to_status = 'pending'))
);
COMMENT ON TABLE orders.history IS
  'One row is a step that an order made. The order''s own trigger writes it; nothing is changed, but that a note is taken away at erasure.';

CREATE TABLE orders.returns (
  return_id uuid NOT NULL,
  order_id uuid NOT NULL,
  status text NOT NULL,
  location text NOT NULL,
  business_date date NOT NULL,
  reason text,
  returned_by text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  booked_at timestamptz,
  completed_at timestamptz,
  subtotal_cents bigint NOT NULL,
  taxes jsonb NOT NULL,
  tax_cents bigint NOT NULL,
  total_cents bigint GENERATED ALWAYS AS (subtotal_cents + tax_cents) STORED,
  request text NOT NULL,
  request_sha256 bytea NOT NULL,
  tried_at timestamptz NOT NULL DEFAULT now(),
  trouble text,
  changed_xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
  CONSTRAINT returns_pkey PRIMARY KEY (return_id),
  CONSTRAINT returns_order_id_fkey FOREIGN KEY (order_id) REFERENCES orders.orders,
  CONSTRAINT returns_status_check CHECK (status IN ('pending', 'complete')),
  CONSTRAINT returns_completed_check CHECK ((status = 'complete') = (completed_at IS NOT NULL)),
  -- Money goes back for goods that are back.
  CONSTRAINT returns_booked_check CHECK (completed_at IS NULL OR booked_at IS NOT NULL),
  CONSTRAINT returns_total_check CHECK (subtotal_cents >= 0 AND tax_cents >= 0),
  CONSTRAINT returns_request_key UNIQUE (request)
);
COMMENT ON TABLE orders.returns IS
  'One row is goods of an order brought back and the money refunded for them. pending: recorded, one of the two not known to be done.';
CREATE INDEX returns_by_order ON orders.returns (order_id);
CREATE INDEX returns_by_day ON orders.returns (business_date, location) WHERE completed_at IS NOT NULL;
CREATE INDEX returns_unsettled ON orders.returns (tried_at) WHERE status = 'pending';
CREATE INDEX returns_changed_xid ON orders.returns (changed_xid) WHERE completed_at IS NOT NULL;

CREATE TABLE orders.return_lines (
  return_id uuid NOT NULL,
  line integer NOT NULL,
  order_id uuid NOT NULL,
  order_line integer NOT NULL,
  sku text NOT NULL,
  name text NOT NULL,
  category text NOT NULL,
  restock boolean NOT NULL,
  quantity integer NOT NULL,
  unit_price_cents bigint NOT NULL,
  total_cents bigint GENERATED ALWAYS AS (quantity * unit_price_cents) STORED,
  tax_parts_cents bigint[] NOT NULL,
  tax_cents bigint NOT NULL,
  CONSTRAINT return_lines_pkey PRIMARY KEY (return_id, line),
  CONSTRAINT return_lines_return_id_fkey FOREIGN KEY (return_id) REFERENCES orders.returns,
  CONSTRAINT return_lines_order_line_fkey FOREIGN KEY (order_id, order_line)
    REFERENCES orders.order_lines (order_id, line),
  CONSTRAINT return_lines_quantity_check CHECK (quantity > 0)
);
COMMENT ON TABLE orders.return_lines IS 'One row is a quantity of one ordered line that came back.';
COMMENT ON COLUMN orders.return_lines.restock IS 'True: back into stock; false: booked in and written off.';

CREATE TABLE orders.idempotency_keys (
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
COMMENT ON TABLE orders.idempotency_keys IS 'One row is the answer that a repeated request with the same key gets.';
CREATE INDEX idempotency_keys_expires_at ON orders.idempotency_keys (expires_at);

CREATE FUNCTION orders.check_step() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = orders, pg_temp
AS $$
BEGIN
  IF TG_OP = 'INSERT' AND NEW.status = 'pending' THEN
    RETURN NEW;
  END IF;
  IF TG_OP = 'INSERT' OR NOT EXISTS (
    SELECT FROM transitions WHERE from_status = OLD.status AND to_status = NEW.status
  ) THEN
    RAISE EXCEPTION 'order % cannot become %', NEW.order_id, NEW.status
    USING ERRCODE = 'check_violation', CONSTRAINT = 'orders_step', SCHEMA = 'orders', TABLE = 'orders';
  END IF;
  RETURN NEW;
END $$;
COMMENT ON FUNCTION orders.check_step IS 'Lets an order begin as pending and make the steps of orders.transitions, and no other.';
CREATE TRIGGER orders_begin BEFORE INSERT ON orders.orders
FOR EACH ROW EXECUTE FUNCTION orders.check_step();
CREATE TRIGGER orders_step BEFORE UPDATE ON orders.orders
FOR EACH ROW WHEN (OLD.status <> NEW.status) EXECUTE FUNCTION orders.check_step();

CREATE FUNCTION orders.write_history() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = orders, pg_temp
AS $$
BEGIN
  INSERT INTO history (order_id, who, from_status, to_status, note)
  VALUES (
    NEW.order_id, NEW.changed_by, CASE TG_OP WHEN 'UPDATE' THEN OLD.status END, NEW.status, NEW.change_note
  );
  RETURN NULL;
END $$;
COMMENT ON FUNCTION orders.write_history IS 'No step without its entry: who made it, when, and why.';
CREATE TRIGGER orders_begun AFTER INSERT ON orders.orders
FOR EACH ROW EXECUTE FUNCTION orders.write_history();
CREATE TRIGGER orders_stepped AFTER UPDATE ON orders.orders
FOR EACH ROW WHEN (OLD.status <> NEW.status) EXECUTE FUNCTION orders.write_history();

CREATE FUNCTION orders.refuse_change() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
  RAISE EXCEPTION '% on % is refused: it is append-only', TG_OP, TG_TABLE_NAME
  USING ERRCODE = 'insufficient_privilege';
END $$;
COMMENT ON FUNCTION orders.refuse_change IS 'Keeps even the owner of a table from changing what is recorded in it.';
CREATE TRIGGER history_stays BEFORE DELETE OR TRUNCATE ON orders.history
FOR EACH STATEMENT EXECUTE FUNCTION orders.refuse_change();
CREATE TRIGGER history_is_append_only BEFORE UPDATE ON orders.history
FOR EACH ROW WHEN (
  (OLD.entry_id, OLD.order_id, OLD.at, OLD.who, OLD.from_status, OLD.to_status)
    IS DISTINCT FROM (NEW.entry_id, NEW.order_id, NEW.at, NEW.who, NEW.from_status, NEW.to_status)
  OR NEW.note IS NOT NULL
) EXECUTE FUNCTION orders.refuse_change();

CREATE VIEW orders.report_documents AS
SELECT
  order_id AS document_id, 'sale' AS kind, location AS store, 'web' AS channel, sold_on AS business_date,
  paid_at AS occurred_at, true AS counts, subtotal_cents, tax_cents, changed_xid
FROM orders.orders
WHERE paid_at IS NOT NULL
UNION ALL
SELECT
  order_id, 'return', location, 'web', cancelled_on,
  cancelled_at, true, subtotal_cents, tax_cents, changed_xid
FROM orders.orders
WHERE paid_at IS NOT NULL
  AND cancelled_at IS NOT NULL
  AND refunded_at IS NOT NULL
UNION ALL
SELECT
  return_id, 'return', location, 'web', business_date,
  created_at, true, subtotal_cents, tax_cents, changed_xid
FROM orders.returns
WHERE completed_at IS NOT NULL;
COMMENT ON VIEW orders.report_documents IS
  'One row is a paid order, or what was refunded of one: all of it when it was cancelled, or a return. Amounts of returns are positive.';

CREATE VIEW orders.report_lines AS
SELECT
  'sale' AS kind, orders.location AS store, 'web' AS channel, orders.sold_on AS business_date,
  orders.paid_at AS occurred_at, line.sku, line.name, line.category, false AS charge, line.quantity,
  line.total_cents, line.tax_cents
FROM orders.orders
JOIN orders.order_lines AS line ON line.order_id = orders.order_id
WHERE orders.paid_at IS NOT NULL
UNION ALL
SELECT
  'return', orders.location, 'web', orders.cancelled_on,
  orders.cancelled_at, line.sku, line.name, line.category, false, line.quantity,
  line.total_cents, line.tax_cents
FROM orders.orders
JOIN orders.order_lines AS line ON line.order_id = orders.order_id
WHERE orders.paid_at IS NOT NULL
  AND orders.cancelled_at IS NOT NULL
  AND orders.refunded_at IS NOT NULL
UNION ALL
SELECT
  'return', returns.location, 'web', returns.business_date,
  returns.created_at, line.sku, line.name, line.category, false, line.quantity,
  line.total_cents, line.tax_cents
FROM orders.returns
JOIN orders.return_lines AS line ON line.return_id = returns.return_id
WHERE returns.completed_at IS NOT NULL;
COMMENT ON VIEW orders.report_lines IS 'One row is a line of such a document. Amounts of returns are positive.';

GRANT SELECT ON orders.transitions, orders.history TO orders;
GRANT UPDATE (note) ON orders.history TO orders;
GRANT SELECT, INSERT ON orders.checkouts, orders.orders, orders.order_lines TO orders;
GRANT UPDATE (
  status, captured_cents, refunded_cents, payment_reference, address, carrier, tracking, changed_by, change_note,
  paid_at, packed_at, shipped_at, delivered_at, cancelled_at, returned_at, refunded_at, erased_at, restocked_at,
  tried_at, trouble, changed_xid
) ON orders.orders TO orders;
GRANT UPDATE (returned_quantity, returned_tax_parts_cents) ON orders.order_lines TO orders;
GRANT SELECT, INSERT ON orders.returns, orders.return_lines TO orders;
GRANT UPDATE (status, reason, booked_at, completed_at, tried_at, trouble, changed_xid) ON orders.returns TO orders;
GRANT SELECT, INSERT, UPDATE, DELETE ON orders.idempotency_keys TO orders;

RESET ROLE;

-- migrate:down

DROP VIEW orders.report_lines;
DROP VIEW orders.report_documents;
DROP TABLE orders.idempotency_keys;
DROP TABLE orders.return_lines;
DROP TABLE orders.returns;
DROP TABLE orders.history;
DROP TABLE orders.order_lines;
DROP TABLE orders.orders;
DROP TABLE orders.checkouts;
DROP TABLE orders.transitions;
DROP FUNCTION orders.refuse_change;
DROP FUNCTION orders.write_history;
DROP FUNCTION orders.check_step;
CALL public.drop_function_home('orders');
