-- Stands in for the payment provider: a company of its own with its own ledger. Has no public route.
-- What may happen to money is decided here: no statement of the function's role, in whatever order,
-- captures twice, gives back more than was captured, or moves a cent that is not in the ledger.

-- migrate:up

CALL public.create_function_home('payments');

SET LOCAL ROLE payments_owner;

CREATE TABLE payments.authorisations (
  reference text NOT NULL,
  authorisation_id uuid NOT NULL DEFAULT gen_random_uuid(),
  state text NOT NULL,
  amount_cents bigint NOT NULL,
  currency text,
  card_token text,
  description text NOT NULL DEFAULT '',
  decline_code text,
  void_reason text,
  captured_cents bigint GENERATED ALWAYS AS (CASE WHEN state = 'captured' THEN amount_cents ELSE 0 END) STORED,
  refunded_cents bigint NOT NULL DEFAULT 0,
  created_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT authorisations_pkey PRIMARY KEY (reference),
  CONSTRAINT authorisations_authorisation_id_key UNIQUE (authorisation_id),
  -- Printable ASCII without a slash, so that it can stand in a path.
  CONSTRAINT authorisations_reference_check CHECK (reference ~ '^[!-.0-~]{1,100}$'),
  CONSTRAINT authorisations_state_check CHECK (state IN ('authorised', 'captured', 'voided', 'declined')),
  CONSTRAINT authorisations_currency_check CHECK (currency ~ '^[A-Z]{3}$'),
  CONSTRAINT authorisations_description_check CHECK (char_length(description) <= 200),
  -- A tombstone: voided before anything was asked, so that nothing ever is authorised under its reference.
  CONSTRAINT authorisations_content_check CHECK (
    CASE
      WHEN currency IS NULL THEN state = 'voided' AND amount_cents = 0 AND card_token IS NULL
      ELSE amount_cents > 0 AND card_token IS NOT NULL
    END
  ),
  CONSTRAINT authorisations_declined_check CHECK ((state = 'declined') = (decline_code IS NOT NULL)),
  CONSTRAINT authorisations_voided_check CHECK (
    (state = 'voided') = (void_reason IS NOT NULL) AND void_reason IN ('requested', 'capture_refused')
  ),
  -- Never more is given back than was taken.
  CONSTRAINT authorisations_refunded_check CHECK (refunded_cents BETWEEN 0 AND captured_cents)
);
COMMENT ON TABLE payments.authorisations IS
  'One row is what became of one reference; its content never changes, its sums are those of its ledger.';

CREATE TABLE payments.refunds (
  reference text NOT NULL,
  refund_reference text NOT NULL,
  amount_cents bigint NOT NULL,
  reason text NOT NULL DEFAULT '',
  created_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT refunds_pkey PRIMARY KEY (reference, refund_reference),
  CONSTRAINT refunds_reference_fkey FOREIGN KEY (reference) REFERENCES payments.authorisations,
  CONSTRAINT refunds_refund_reference_check CHECK (refund_reference ~ '^[!-.0-~]{1,100}$'),
  CONSTRAINT refunds_amount_cents_check CHECK (amount_cents > 0),
  CONSTRAINT refunds_reason_check CHECK (char_length(reason) <= 200)
);
COMMENT ON TABLE payments.refunds IS 'One row is money given back, once for its reference; it is never changed nor deleted.';

CREATE TABLE payments.ledger (
  entry_id bigint GENERATED ALWAYS AS IDENTITY,
  at timestamptz NOT NULL DEFAULT now(),
  reference text NOT NULL,
  kind text NOT NULL,
  amount_cents bigint NOT NULL,
  refund_reference text,
  CONSTRAINT ledger_pkey PRIMARY KEY (entry_id),
  CONSTRAINT ledger_reference_fkey FOREIGN KEY (reference) REFERENCES payments.authorisations,
  CONSTRAINT ledger_kind_check CHECK (kind IN ('authorised', 'declined', 'voided', 'captured', 'refunded')),
  CONSTRAINT ledger_amount_cents_check CHECK (amount_cents > 0 OR (kind = 'voided' AND amount_cents = 0)),
  CONSTRAINT ledger_refund_check CHECK ((kind = 'refunded') = (refund_reference IS NOT NULL))
);
COMMENT ON TABLE payments.ledger IS
  'One row is one thing that happened to the money of one reference; written by triggers only, never changed nor deleted.';

-- The story of one reference.
CREATE INDEX ledger_reference ON payments.ledger (reference, entry_id);
-- Each thing happens once: a decision, what becomes of it, a refund.
CREATE UNIQUE INDEX ledger_decided_once ON payments.ledger (reference) WHERE kind IN ('authorised', 'declined');
CREATE UNIQUE INDEX ledger_settled_once ON payments.ledger (reference) WHERE kind IN ('captured', 'voided');
CREATE UNIQUE INDEX ledger_refunded_once ON payments.ledger (reference, refund_reference) WHERE kind = 'refunded';

CREATE TABLE payments.attempts (
  reference text NOT NULL,
  attempts integer NOT NULL DEFAULT 1,
  CONSTRAINT attempts_pkey PRIMARY KEY (reference)
);
COMMENT ON TABLE payments.attempts IS 'One row is how often a card that fails at first was tried under one reference.';

CREATE FUNCTION payments.post_state() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = payments, pg_temp
AS $$
BEGIN
  IF TG_OP = 'UPDATE' THEN
    IF NEW.state = OLD.state THEN
      RETURN NULL;
    END IF;
    IF OLD.state <> 'authorised' OR NEW.state NOT IN ('captured', 'voided') THEN
      RAISE EXCEPTION '% cannot become %', OLD.state, NEW.state
      USING ERRCODE = 'check_violation', CONSTRAINT = 'authorisations_step_check', TABLE = 'authorisations';
    END IF;
  ELSIF NEW.state = 'captured' OR (NEW.state = 'voided' AND NEW.currency IS NOT NULL) THEN
    RAISE EXCEPTION 'nothing begins as %', NEW.state
    USING ERRCODE = 'check_violation', CONSTRAINT = 'authorisations_step_check', TABLE = 'authorisations';
  END IF;
  INSERT INTO ledger (reference, kind, amount_cents) VALUES (NEW.reference, NEW.state, NEW.amount_cents);
  RETURN NULL;
END $$;
COMMENT ON FUNCTION payments.post_state IS
  'Writes each change of state into the ledger: authorised or declined first, then captured or voided, and nothing after.';

CREATE TRIGGER authorisations_are_posted AFTER INSERT OR UPDATE OF state ON payments.authorisations
FOR EACH ROW EXECUTE FUNCTION payments.post_state();

CREATE FUNCTION payments.post_refund() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = payments, pg_temp
AS $$
BEGIN
  UPDATE authorisations SET refunded_cents = refunded_cents + NEW.amount_cents WHERE reference = NEW.reference;
  INSERT INTO ledger (reference, kind, amount_cents, refund_reference)
  VALUES (NEW.reference, 'refunded', NEW.amount_cents, NEW.refund_reference);
  RETURN NULL;
END $$;
COMMENT ON FUNCTION payments.post_refund IS
  'Adds each refund to what was given back, which has a limit, and writes it into the ledger.';

CREATE TRIGGER refunds_are_posted AFTER INSERT ON payments.refunds
FOR EACH ROW EXECUTE FUNCTION payments.post_refund();

CREATE FUNCTION payments.refuse_change() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
  RAISE EXCEPTION '% on % is refused: it is append-only', TG_OP, TG_TABLE_NAME
  USING ERRCODE = 'insufficient_privilege';
END $$;
COMMENT ON FUNCTION payments.refuse_change IS 'Keeps even the owner of a table from changing what is recorded in it.';

CREATE TRIGGER ledger_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON payments.ledger
FOR EACH STATEMENT EXECUTE FUNCTION payments.refuse_change();
CREATE TRIGGER refunds_are_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON payments.refunds
FOR EACH STATEMENT EXECUTE FUNCTION payments.refuse_change();

-- The sums and the ledger are the triggers' alone.
GRANT SELECT ON payments.authorisations TO payments;
GRANT INSERT (
  reference, state, amount_cents, currency, card_token, description, decline_code, void_reason
) ON payments.authorisations TO payments;
GRANT UPDATE (state, void_reason) ON payments.authorisations TO payments;
GRANT SELECT ON payments.refunds TO payments;
GRANT INSERT (reference, refund_reference, amount_cents, reason) ON payments.refunds TO payments;
GRANT SELECT ON payments.ledger TO payments;
GRANT SELECT, INSERT, UPDATE ON payments.attempts TO payments;

RESET ROLE;

-- migrate:down

DROP TABLE payments.attempts;
DROP TABLE payments.ledger;
DROP TABLE payments.refunds;
DROP TABLE payments.authorisations;
DROP FUNCTION payments.refuse_change;
DROP FUNCTION payments.post_refund;
DROP FUNCTION payments.post_state;

CALL public.drop_function_home('payments');
