-- Carts that are being checked out: what checkout was given is what stays in the cart until checkout is done with it.
-- The function refuses changes when it has locked a frozen cart; the trigger refuses those that it might forget.

-- migrate:up

SET LOCAL ROLE cart_owner;

CREATE TABLE cart.checkouts (
  checkout_id uuid NOT NULL,
  state text NOT NULL,
  customer_id text,
  content json,
  changed_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT checkouts_pkey PRIMARY KEY (checkout_id),
  CONSTRAINT checkouts_state_check CHECK (
    CASE state
      WHEN 'frozen' THEN num_nonnulls(customer_id, content) = 2
      WHEN 'closed' THEN num_nonnulls(customer_id, content) = 0
      WHEN 'released' THEN num_nonnulls(customer_id, content) = 0
      ELSE false
    END
  )
);
COMMENT ON TABLE cart.checkouts IS
  'One row is a checkout that holds a cart or is done with it; of one that is done nothing is kept but that it is.';
COMMENT ON COLUMN cart.checkouts.content IS 'What checkout was told is in the cart; json, not jsonb: the same question gets the same answer to the byte.';

ALTER TABLE cart.carts
  ADD COLUMN checkout_id uuid,
  ADD CONSTRAINT carts_checkout_id_key UNIQUE (checkout_id),
  ADD CONSTRAINT carts_checkout_id_fkey FOREIGN KEY (checkout_id) REFERENCES cart.checkouts;
COMMENT ON COLUMN cart.carts.checkout_id IS 'The checkout that holds this cart; null: its holder may change it.';

CREATE FUNCTION cart.refuse_frozen() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
  IF EXISTS (
    SELECT
    FROM cart.carts
    WHERE cart_id = coalesce(NEW.cart_id, OLD.cart_id)
      AND checkout_id IS NOT NULL
  ) THEN
    RAISE EXCEPTION 'the cart is being checked out'
    USING ERRCODE = 'check_violation', CONSTRAINT = 'items_frozen_check', TABLE = 'items';
  END IF;
  RETURN coalesce(NEW, OLD);
END $$;
COMMENT ON FUNCTION cart.refuse_frozen IS 'Keeps the items of a cart as they are while a checkout holds it.';

CREATE TRIGGER items_are_frozen BEFORE INSERT OR UPDATE OR DELETE ON cart.items
FOR EACH ROW EXECUTE FUNCTION cart.refuse_frozen();

CREATE TRIGGER carts_are_frozen BEFORE DELETE ON cart.carts
FOR EACH ROW WHEN (OLD.checkout_id IS NOT NULL) EXECUTE FUNCTION cart.refuse_frozen();

GRANT UPDATE (checkout_id) ON cart.carts TO cart;
GRANT SELECT, INSERT ON cart.checkouts TO cart;
GRANT UPDATE (state, customer_id, content, changed_at) ON cart.checkouts TO cart;

RESET ROLE;

-- migrate:down

DROP TRIGGER carts_are_frozen ON cart.carts;
DROP TRIGGER items_are_frozen ON cart.items;
DROP FUNCTION cart.refuse_frozen;
ALTER TABLE cart.carts DROP COLUMN checkout_id;
DROP TABLE cart.checkouts;
