-- The roles of checkout, payments and products may change what they do change, and no more: no key, no price that was
-- agreed, not whose a checkout is. All others had their columns named from the beginning.

-- migrate:up

SET LOCAL ROLE checkout_owner;
REVOKE UPDATE ON checkout.checkouts, checkout.steps FROM checkout;
GRANT UPDATE (
  state, step, facts, card_token, code, order_id, order_number, answer_status, answer_headers, answer_body, tried_at,
  settled_at, address, erased_at
) ON checkout.checkouts TO checkout;
GRANT UPDATE (attempts, done_at, undo_attempts, undo_begun_at, undone_at) ON checkout.steps TO checkout;

SET LOCAL ROLE payments_owner;
REVOKE UPDATE ON payments.attempts FROM payments;
GRANT UPDATE (attempts) ON payments.attempts TO payments;

SET LOCAL ROLE products_owner;
REVOKE UPDATE ON products.products FROM products;
GRANT UPDATE (name, description, category, price_cents, currency, active, version, updated_at)
  ON products.products TO products;

RESET ROLE;

-- migrate:down

SET LOCAL ROLE checkout_owner;
REVOKE UPDATE ON checkout.checkouts, checkout.steps FROM checkout;
GRANT UPDATE ON checkout.checkouts, checkout.steps TO checkout;

SET LOCAL ROLE payments_owner;
REVOKE UPDATE ON payments.attempts FROM payments;
GRANT UPDATE ON payments.attempts TO payments;

SET LOCAL ROLE products_owner;
REVOKE UPDATE ON products.products FROM products;
GRANT UPDATE ON products.products TO products;

RESET ROLE;
