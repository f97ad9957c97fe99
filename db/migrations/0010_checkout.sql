-- Turns a cart into a paid order, step by step; each step survives a crash.
-- A step is recorded before its effect and after it, so that whoever finds a checkout half-way knows what to ask for.

-- migrate:up

CALL public.create_function_home('checkout');
SET LOCAL ROLE checkout_owner;

CREATE TABLE checkout.checkouts (
  checkout_id uuid NOT NULL,
  customer_id text NOT NULL,
  request_key text NOT NULL,
  body_sha256 bytea NOT NULL,
  request_id text NOT NULL,
  state text NOT NULL DEFAULT 'open',
  step text NOT NULL,
  cart_version integer NOT NULL,
  agreed_cents bigint NOT NULL,
  location text NOT NULL,
  address jsonb,
  card_token text,
  facts jsonb NOT NULL DEFAULT '{}',
  code text,
  order_id text,
  order_number text,
  answer_status smallint,
  answer_headers jsonb,
  answer_body bytea,
  created_at timestamptz NOT NULL DEFAULT now(),
  give_up_at timestamptz NOT NULL,
  tried_at timestamptz NOT NULL DEFAULT now(),
  settled_at timestamptz,
  erased_at timestamptz,
  CONSTRAINT checkouts_pkey PRIMARY KEY (checkout_id),
  -- One request of a customer is one checkout, however often it is sent.
  CONSTRAINT checkouts_request_key UNIQUE (customer_id, request_key),
  CONSTRAINT checkouts_customer_id_check CHECK (char_length(customer_id) BETWEEN 1 AND 200),
  CONSTRAINT checkouts_body_sha256_check CHECK (octet_length(body_sha256) = 32),
  CONSTRAINT checkouts_state_check CHECK (state IN ('open', 'undoing', 'complete', 'refused')),
  CONSTRAINT checkouts_settled_check CHECK ((state IN ('complete', 'refused')) = (settled_at IS NOT NULL)),
  -- What is to be told is stored with the decision, and is not told before it is settled.
  CONSTRAINT checkouts_answer_check CHECK ((state <> 'open') = (answer_status IS NOT NULL)),
  CONSTRAINT checkouts_code_check CHECK ((state IN ('undoing', 'refused')) = (code IS NOT NULL)),
  -- The card's token goes as soon as the card has been asked.
  CONSTRAINT checkouts_card_token_check CHECK (
    card_token IS NULL
    OR (state = 'open' AND step IN ('freeze', 'price', 'reserve', 'order', 'authorise'))
  ),
  CONSTRAINT checkouts_erased_check CHECK (
    erased_at IS NULL OR (settled_at IS NOT NULL AND num_nonnulls(address, answer_body) = 0)
  )
);
COMMENT ON TABLE checkout.checkouts IS
  'One row is one request to buy a cart: going forward (open), going back (undoing), or settled (complete, refused).';
COMMENT ON COLUMN checkout.checkouts.step IS 'The step that is being done, or taken back.';
COMMENT ON COLUMN checkout.checkouts.facts IS 'What the steps have learnt: the items of the cart, the bill, the order.';
COMMENT ON COLUMN checkout.checkouts.give_up_at IS 'Not captured by then it is undone.';
-- Finds what was interrupted without reading what is settled.
CREATE INDEX checkouts_unsettled ON checkout.checkouts (tried_at) WHERE state IN ('open', 'undoing');
CREATE INDEX checkouts_customer ON checkout.checkouts (customer_id, created_at DESC, checkout_id DESC);

CREATE TABLE checkout.steps (
  checkout_id uuid NOT NULL,
  step text NOT NULL,
  attempts integer NOT NULL DEFAULT 1,
  begun_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  done_at timestamptz,
  undo_attempts integer NOT NULL DEFAULT 0,
  undo_begun_at timestamptz,
  undone_at timestamptz,
  CONSTRAINT steps_pkey PRIMARY KEY (checkout_id, step),
  CONSTRAINT steps_checkout_id_fkey FOREIGN KEY (checkout_id) REFERENCES checkout.checkouts,
  CONSTRAINT steps_step_check CHECK (
    step IN ('freeze', 'price', 'reserve', 'order', 'authorise', 'commit', 'capture', 'mark_paid', 'clear')
  ),
  CONSTRAINT steps_attempts_check CHECK (attempts > 0 AND undo_attempts >= 0),
  CONSTRAINT steps_done_check CHECK (done_at >= begun_at AND undone_at >= undo_begun_at)
);
COMMENT ON TABLE checkout.steps IS
  'One row is a step of a checkout, from before its effect was asked for; and the taking back of it.';

GRANT SELECT, INSERT, UPDATE ON checkout.checkouts, checkout.steps TO checkout;

RESET ROLE;

-- migrate:down

DROP TABLE checkout.steps;
DROP TABLE checkout.checkouts;
CALL public.drop_function_home('checkout');
