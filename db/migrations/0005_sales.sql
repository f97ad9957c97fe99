-- Sales at the till and what comes back: documents with their lines and money, registers, gift cards, receipt numbers.
-- A document is recorded before stock is asked for and completed after, so that a crash between leaves a row to go on from.

-- migrate:up

CALL public.create_function_home('sales');
SET LOCAL ROLE sales_owner;

CREATE TABLE sales.register_sessions (
  session_id bigint GENERATED ALWAYS AS IDENTITY,
  store text NOT NULL,
  register text NOT NULL,
  business_date date NOT NULL,
  opened_at timestamptz NOT NULL DEFAULT now(),
  opened_by text NOT NULL,
  opening_cash_cents bigint NOT NULL,
  closed_at timestamptz,
  closed_by text,
  counted_cash_cents bigint,
  expected_cash_cents bigint,
  discrepancy_cents bigint GENERATED ALWAYS AS (counted_cash_cents - expected_cash_cents) STORED,
  note text,
  CONSTRAINT register_sessions_pkey PRIMARY KEY (session_id),
  CONSTRAINT register_sessions_register_check CHECK (register ~ '^[A-Za-z0-9-]{1,20}$'),
  CONSTRAINT register_sessions_cash_check CHECK (opening_cash_cents >= 0 AND counted_cash_cents >= 0),
  CONSTRAINT register_sessions_closed_check CHECK (
    num_nulls(closed_at, closed_by, counted_cash_cents, expected_cash_cents) IN (0, 4)
  )
);
COMMENT ON TABLE sales.register_sessions IS
  'One row is one opening of one register, from its first cash to its count; expected is what the movements say.';
-- A register is open once at a time.
CREATE UNIQUE INDEX register_sessions_open ON sales.register_sessions (store, register) WHERE closed_at IS NULL;
CREATE INDEX register_sessions_list ON sales.register_sessions (store, session_id DESC);

CREATE TABLE sales.cash_movements (
  movement_id bigint GENERATED ALWAYS AS IDENTITY,
  session_id bigint NOT NULL,
  kind text NOT NULL,
  reference text NOT NULL,
  amount_cents bigint NOT NULL,
  moved_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT cash_movements_pkey PRIMARY KEY (movement_id),
  CONSTRAINT cash_movements_session_id_fkey FOREIGN KEY (session_id) REFERENCES sales.register_sessions,
  CONSTRAINT cash_movements_kind_check CHECK (kind IN ('sale', 'void', 'return', 'gift_card')),
  CONSTRAINT cash_movements_amount_cents_check CHECK (amount_cents <> 0),
  -- One document moves cash once, however often it is recovered.
  CONSTRAINT cash_movements_reference_key UNIQUE (kind, reference)
);
COMMENT ON TABLE sales.cash_movements IS
  'One row is cash that went into (positive) or out of a register; rows are added and never changed.';
CREATE INDEX cash_movements_session_id ON sales.cash_movements (session_id);

CREATE TABLE sales.gift_cards (
  gift_card_id bigint GENERATED ALWAYS AS IDENTITY,
  code_sha256 bytea NOT NULL,
  last_four text NOT NULL,
  currency text NOT NULL,
  balance_cents bigint NOT NULL,
  store text NOT NULL,
  session_id bigint NOT NULL,
  paid_by text NOT NULL,
  paid_reference text,
  issued_at timestamptz NOT NULL DEFAULT now(),
  issued_by text NOT NULL,
  CONSTRAINT gift_cards_pkey PRIMARY KEY (gift_card_id),
  -- The code itself is not kept: who reads the table cannot pay with it.
  CONSTRAINT gift_cards_code_key UNIQUE (code_sha256),
  CONSTRAINT gift_cards_code_check CHECK (octet_length(code_sha256) = 32 AND char_length(last_four) = 4),
  CONSTRAINT gift_cards_session_id_fkey FOREIGN KEY (session_id) REFERENCES sales.register_sessions,
  CONSTRAINT gift_cards_balance_cents_check CHECK (balance_cents >= 0),
  CONSTRAINT gift_cards_paid_by_check CHECK (paid_by IN ('cash', 'card'))
);
COMMENT ON TABLE sales.gift_cards IS 'One row is a gift card; its balance is the sum of its entries.';

CREATE TABLE sales.gift_card_entries (
  entry_id bigint GENERATED ALWAYS AS IDENTITY,
  gift_card_id bigint NOT NULL,
  kind text NOT NULL,
  reference text NOT NULL,
  amount_cents bigint NOT NULL,
  entered_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT gift_card_entries_pkey PRIMARY KEY (entry_id),
  CONSTRAINT gift_card_entries_gift_card_id_fkey FOREIGN KEY (gift_card_id) REFERENCES sales.gift_cards,
  CONSTRAINT gift_card_entries_kind_check CHECK (kind IN ('issue', 'charge', 'charge_undone', 'refund')),
  CONSTRAINT gift_card_entries_sign_check CHECK (amount_cents <> 0 AND (kind = 'charge') = (amount_cents < 0)),
  -- One document charges, and gives back, a card once.
  CONSTRAINT gift_card_entries_reference_key UNIQUE (gift_card_id, kind, reference)
);
COMMENT ON TABLE sales.gift_card_entries IS
  'One row is money put onto a gift card (positive) or taken from it; rows are added and never changed.';

CREATE TABLE sales.receipt_counters (
  store text NOT NULL,
  business_date date NOT NULL,
  series text NOT NULL,
  last_number integer NOT NULL,
  CONSTRAINT receipt_counters_pkey PRIMARY KEY (store, business_date, series),
  CONSTRAINT receipt_counters_series_check CHECK (series IN ('sale', 'return')),
  CONSTRAINT receipt_counters_last_number_check CHECK (last_number > 0)
);
COMMENT ON TABLE sales.receipt_counters IS
  'One row is the last receipt number of a store''s day; it goes up in the transaction that completes a document, so there are no gaps.';

CREATE TABLE sales.sales (
  sale_id uuid NOT NULL,
  status text NOT NULL,
  origin text NOT NULL,
  channel text NOT NULL DEFAULT 'store',
  store text NOT NULL,
  register text,
  session_id bigint,
  cashier text NOT NULL,
  business_date date NOT NULL,
  sold_at timestamptz NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  completed_at timestamptz,
  receipt_number integer,
  currency text NOT NULL,
  subtotal_cents bigint NOT NULL,
  taxes jsonb NOT NULL,
  tax_cents bigint NOT NULL,
  total_cents bigint GENERATED ALWAYS AS (subtotal_cents + tax_cents) STORED,
  change_cents bigint NOT NULL DEFAULT 0,
  customer_reference text,
  document text,
  request text,
  request_sha256 bytea,
  refusal jsonb,
  void_request text,
  void_session_id bigint,
  void_reason text,
  voided_by text,
  voided_at timestamptz,
  tried_at timestamptz NOT NULL DEFAULT now(),
  changed_xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
  CONSTRAINT sales_pkey PRIMARY KEY (sale_id),
  CONSTRAINT sales_status_check CHECK (
    status IN ('pending', 'undoing', 'undone', 'refused', 'complete', 'voiding', 'voided')
  ),
  CONSTRAINT sales_origin_check CHECK (origin IN ('till', 'import')),
  CONSTRAINT sales_channel_check CHECK (channel = 'store'),
  CONSTRAINT sales_register_check CHECK ((origin = 'till') = (session_id IS NOT NULL AND register IS NOT NULL)),
  CONSTRAINT sales_session_id_fkey FOREIGN KEY (session_id) REFERENCES sales.register_sessions,
  CONSTRAINT sales_void_session_id_fkey FOREIGN KEY (void_session_id) REFERENCES sales.register_sessions,
  CONSTRAINT sales_total_check CHECK (subtotal_cents + tax_cents >= 0 AND change_cents >= 0),
  CONSTRAINT sales_completed_check CHECK (
    (status IN ('complete', 'voiding', 'voided')) = (completed_at IS NOT NULL AND receipt_number IS NOT NULL)
  ),
  CONSTRAINT sales_voided_check CHECK ((status = 'voided') = (voided_at IS NOT NULL)),
  CONSTRAINT sales_receipt_key UNIQUE (store, business_date, receipt_number),
  -- One request is one sale, whatever is repeated; a sale that came to nothing gives its request free.
  CONSTRAINT sales_request_key UNIQUE (request),
  CONSTRAINT sales_document_check CHECK ((origin = 'import') = (document IS NOT NULL))
);
COMMENT ON TABLE sales.sales IS
  'One row is one sale. pending: recorded, stock not known to have left; undoing: given up, stock not known to be back; '
  'complete: sold, with a receipt number; voiding: to be taken back, stock not known to be back.';
COMMENT ON COLUMN sales.sales.sold_at IS 'When it was sold; business_date is the day of that moment in the store.';
COMMENT ON COLUMN sales.sales.taxes IS '[{"name", "percent", "amount_cents"}]; tax_cents is their sum.';
COMMENT ON COLUMN sales.sales.document IS 'The number of an imported sale where it comes from.';
COMMENT ON COLUMN sales.sales.changed_xid IS
  'The transaction that last changed what the sale says; whoever follows changes reads below the snapshot''s horizon.';

-- The orders of the list.
CREATE INDEX sales_by_time ON sales.sales (sold_at DESC, sale_id DESC);
CREATE INDEX sales_by_store ON sales.sales (store, sold_at DESC, sale_id DESC);
CREATE INDEX sales_by_day ON sales.sales (business_date, store, sold_at DESC, sale_id DESC);
CREATE INDEX sales_by_register ON sales.sales (store, register, sold_at DESC, sale_id DESC) WHERE origin = 'till';
CREATE INDEX sales_by_cashier ON sales.sales (cashier, sold_at DESC, sale_id DESC) WHERE origin = 'till';
CREATE INDEX sales_by_document ON sales.sales (document, store) WHERE origin = 'import';
-- The lists of what came to nothing, which is rare among what was sold.
CREATE INDEX sales_not_sold ON sales.sales (sold_at DESC, sale_id DESC) WHERE status IN ('refused', 'undone', 'voided');
-- Finds what is left to finish or undo.
CREATE INDEX sales_unsettled ON sales.sales (tried_at) WHERE status IN ('pending', 'undoing', 'voiding');
-- Finds what changed since a moment.
CREATE INDEX sales_changed_xid ON sales.sales (changed_xid);

CREATE TABLE sales.sale_lines (
  sale_id uuid NOT NULL,
  line integer NOT NULL,
  sku text NOT NULL,
  name text NOT NULL,
  category text NOT NULL,
  charge boolean NOT NULL DEFAULT false,
  quantity integer NOT NULL,
  list_price_cents bigint NOT NULL,
  unit_price_cents bigint NOT NULL,
  override_reason text,
  total_cents bigint GENERATED ALWAYS AS (quantity * unit_price_cents) STORED,
  tax_parts_cents bigint[] NOT NULL,
  tax_cents bigint NOT NULL,
  returned_quantity integer NOT NULL DEFAULT 0,
  returned_tax_parts_cents bigint[] NOT NULL,
  sold_at timestamptz NOT NULL,
  CONSTRAINT sale_lines_pkey PRIMARY KEY (sale_id, line),
  CONSTRAINT sale_lines_sale_id_fkey FOREIGN KEY (sale_id) REFERENCES sales.sales,
  CONSTRAINT sale_lines_quantity_check CHECK (quantity > 0),
  -- Only a charge may be a deduction.
  CONSTRAINT sale_lines_unit_price_cents_check CHECK (unit_price_cents >= 0 OR charge),
  CONSTRAINT sale_lines_override_check CHECK (unit_price_cents = list_price_cents OR override_reason IS NOT NULL OR charge),
  -- Never more comes back than was sold, whoever asks at the same time.
  CONSTRAINT sale_lines_returned_quantity_check CHECK (returned_quantity BETWEEN 0 AND quantity),
  CONSTRAINT sale_lines_tax_parts_check CHECK (cardinality(tax_parts_cents) = cardinality(returned_tax_parts_cents))
);
COMMENT ON TABLE sales.sale_lines IS 'One row is one line of a sale, with the product as it was when it was sold.';
COMMENT ON COLUMN sales.sale_lines.charge IS 'Not goods (postage, a discount): no stock moves.';
COMMENT ON COLUMN sales.sale_lines.tax_parts_cents IS
  'The line''s share of each of the sale''s taxes, in their order; shares of all lines add up to the tax.';
COMMENT ON COLUMN sales.sale_lines.returned_quantity IS 'What returns that are pending or complete have taken back.';
CREATE INDEX sale_lines_sku ON sales.sale_lines (sku, sold_at DESC, sale_id DESC);

CREATE TABLE sales.tenders (
  sale_id uuid NOT NULL,
  tender integer NOT NULL,
  kind text NOT NULL,
  amount_cents bigint NOT NULL,
  given_cents bigint NOT NULL,
  reference text,
  gift_card_id bigint,
  CONSTRAINT tenders_pkey PRIMARY KEY (sale_id, tender),
  CONSTRAINT tenders_sale_id_fkey FOREIGN KEY (sale_id) REFERENCES sales.sales,
  CONSTRAINT tenders_gift_card_id_fkey FOREIGN KEY (gift_card_id) REFERENCES sales.gift_cards,
  CONSTRAINT tenders_kind_check CHECK (kind IN ('cash', 'card', 'gift_card', 'account')),
  CONSTRAINT tenders_amount_cents_check CHECK (amount_cents > 0 AND given_cents >= amount_cents),
  CONSTRAINT tenders_change_check CHECK (kind = 'cash' OR given_cents = amount_cents),
  CONSTRAINT tenders_gift_card_check CHECK ((kind = 'gift_card') = (gift_card_id IS NOT NULL)),
  CONSTRAINT tenders_reference_check CHECK (kind <> 'card' OR reference IS NOT NULL)
);
COMMENT ON TABLE sales.tenders IS
  'One row is one way in which a sale was paid; given less amount is the change. account: settled elsewhere (imports).';

CREATE TABLE sales.returns (
  return_id uuid NOT NULL,
  sale_id uuid,
  status text NOT NULL,
  origin text NOT NULL,
  channel text NOT NULL DEFAULT 'store',
  store text NOT NULL,
  register text,
  session_id bigint,
  cashier text NOT NULL,
  business_date date NOT NULL,
  returned_at timestamptz NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  completed_at timestamptz,
  receipt_number integer,
  currency text NOT NULL,
  subtotal_cents bigint NOT NULL,
  taxes jsonb NOT NULL,
  tax_cents bigint NOT NULL,
  total_cents bigint GENERATED ALWAYS AS (subtotal_cents + tax_cents) STORED,
  refund_kind text NOT NULL,
  refund_reference text,
  gift_card_id bigint,
  reason text NOT NULL,
  customer_reference text,
  document text,
  request text,
  request_sha256 bytea,
  refusal jsonb,
  tried_at timestamptz NOT NULL DEFAULT now(),
  changed_xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
  CONSTRAINT returns_pkey PRIMARY KEY (return_id),
  CONSTRAINT returns_sale_id_fkey FOREIGN KEY (sale_id) REFERENCES sales.sales,
  CONSTRAINT returns_session_id_fkey FOREIGN KEY (session_id) REFERENCES sales.register_sessions,
  CONSTRAINT returns_gift_card_id_fkey FOREIGN KEY (gift_card_id) REFERENCES sales.gift_cards,
  CONSTRAINT returns_status_check CHECK (status IN ('pending', 'refused', 'complete')),
  CONSTRAINT returns_origin_check CHECK (origin IN ('till', 'import')),
  CONSTRAINT returns_channel_check CHECK (channel = 'store'),
  -- Without the sale it belongs to a refund can only be brought in from elsewhere.
  CONSTRAINT returns_sale_check CHECK (sale_id IS NOT NULL OR origin = 'import'),
  CONSTRAINT returns_register_check CHECK ((origin = 'till') = (session_id IS NOT NULL AND register IS NOT NULL)),
  CONSTRAINT returns_refund_check CHECK (refund_kind IN ('cash', 'card', 'gift_card', 'account')),
  CONSTRAINT returns_gift_card_check CHECK ((refund_kind = 'gift_card') = (gift_card_id IS NOT NULL)),
  CONSTRAINT returns_total_check CHECK (subtotal_cents + tax_cents >= 0),
  CONSTRAINT returns_completed_check CHECK (
    (status = 'complete') = (completed_at IS NOT NULL AND receipt_number IS NOT NULL)
  ),
  CONSTRAINT returns_receipt_key UNIQUE (store, business_date, receipt_number),
  CONSTRAINT returns_request_key UNIQUE (request),
  CONSTRAINT returns_document_check CHECK ((origin = 'import') = (document IS NOT NULL))
);
COMMENT ON TABLE sales.returns IS
  'One row is goods brought back and the money refunded for them. pending: recorded, goods not known to be booked.';
CREATE INDEX returns_by_sale ON sales.returns (sale_id);
CREATE INDEX returns_by_time ON sales.returns (returned_at DESC, return_id DESC);
CREATE INDEX returns_by_store ON sales.returns (store, returned_at DESC, return_id DESC);
CREATE INDEX returns_by_day ON sales.returns (business_date, store, returned_at DESC, return_id DESC);
CREATE INDEX returns_unsettled ON sales.returns (tried_at) WHERE status = 'pending';
CREATE INDEX returns_changed_xid ON sales.returns (changed_xid);

CREATE TABLE sales.return_lines (
  return_id uuid NOT NULL,
  line integer NOT NULL,
  sale_id uuid,
  sale_line integer,
  sku text NOT NULL,
  name text NOT NULL,
  category text NOT NULL,
  charge boolean NOT NULL DEFAULT false,
  restock boolean NOT NULL,
  quantity integer NOT NULL,
  unit_price_cents bigint NOT NULL,
  total_cents bigint GENERATED ALWAYS AS (quantity * unit_price_cents) STORED,
  tax_parts_cents bigint[] NOT NULL,
  tax_cents bigint NOT NULL,
  returned_at timestamptz NOT NULL,
  CONSTRAINT return_lines_pkey PRIMARY KEY (return_id, line),
  CONSTRAINT return_lines_return_id_fkey FOREIGN KEY (return_id) REFERENCES sales.returns,
  CONSTRAINT return_lines_sale_line_fkey FOREIGN KEY (sale_id, sale_line) REFERENCES sales.sale_lines (sale_id, line),
  CONSTRAINT return_lines_sale_check CHECK ((sale_id IS NULL) = (sale_line IS NULL)),
  CONSTRAINT return_lines_quantity_check CHECK (quantity > 0),
  CONSTRAINT return_lines_unit_price_cents_check CHECK (unit_price_cents >= 0 OR charge)
);
COMMENT ON TABLE sales.return_lines IS 'One row is a quantity of one sold line that came back, or of a product sold elsewhere.';
COMMENT ON COLUMN sales.return_lines.restock IS 'True: back into stock; false: booked in and written off.';
CREATE INDEX return_lines_sku ON sales.return_lines (sku, returned_at DESC, return_id DESC);

CREATE TABLE sales.idempotency_keys (
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
COMMENT ON TABLE sales.idempotency_keys IS 'One row is the answer that a repeated request with the same key gets.';
CREATE INDEX idempotency_keys_expires_at ON sales.idempotency_keys (expires_at);

GRANT SELECT, INSERT ON sales.register_sessions TO sales;
GRANT UPDATE (closed_at, closed_by, counted_cash_cents, expected_cash_cents, note) ON sales.register_sessions TO sales;
GRANT SELECT, INSERT ON sales.cash_movements, sales.gift_card_entries TO sales;
GRANT SELECT, INSERT, UPDATE (balance_cents) ON sales.gift_cards TO sales;
GRANT SELECT, INSERT, UPDATE (last_number) ON sales.receipt_counters TO sales;
GRANT SELECT, INSERT ON sales.sales TO sales;
GRANT UPDATE (
  status, completed_at, receipt_number, request, refusal, void_request, void_session_id, void_reason, voided_by, voided_at,
  tried_at, changed_xid
) ON sales.sales TO sales;
GRANT SELECT, INSERT ON sales.sale_lines TO sales;
GRANT UPDATE (returned_quantity, returned_tax_parts_cents) ON sales.sale_lines TO sales;
GRANT SELECT, INSERT ON sales.tenders TO sales;
GRANT SELECT, INSERT ON sales.returns TO sales;
GRANT UPDATE (status, completed_at, receipt_number, request, refusal, tried_at, changed_xid) ON sales.returns TO sales;
GRANT SELECT, INSERT ON sales.return_lines TO sales;
GRANT SELECT, INSERT, UPDATE, DELETE ON sales.idempotency_keys TO sales;

RESET ROLE;

-- migrate:down

DROP TABLE sales.idempotency_keys;
DROP TABLE sales.return_lines;
DROP TABLE sales.returns;
DROP TABLE sales.tenders;
DROP TABLE sales.sale_lines;
DROP TABLE sales.sales;
DROP TABLE sales.receipt_counters;
DROP TABLE sales.gift_card_entries;
DROP TABLE sales.gift_cards;
DROP TABLE sales.cash_movements;
DROP TABLE sales.register_sessions;
CALL public.drop_function_home('sales');
