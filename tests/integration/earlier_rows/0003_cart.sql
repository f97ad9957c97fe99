-- The cart of a customer, that of a visitor, and one whose time has passed.
INSERT INTO cart.carts (cart_id, token_sha256, customer_id, version, expires_at)
VALUES
  ('ca000000-0000-4000-8000-000000000001', NULL, 'ada00000-0000-4000-8000-000000000001', 3, now() + interval '90 days'),
  ('ca000000-0000-4000-8000-000000000002', sha256('a visitor''s token'), NULL, 1, now() + interval '14 days'),
  ('ca000000-0000-4000-8000-000000000003', sha256('an older token'), NULL, 1, now() - interval '1 day');

INSERT INTO cart.items (
  cart_id, sku, quantity, product_id, product_version, name, unit_price_cents, available,
  previous_price_cents, price_changed_at
)
VALUES
  ('ca000000-0000-4000-8000-000000000001', 'A', 3, 1, 2, 'Café Crème', 1000, true, 900, now()),
  ('ca000000-0000-4000-8000-000000000002', 'B', 1, 2, 1, 'Lantern', 250, true, NULL, NULL),
  ('ca000000-0000-4000-8000-000000000003', 'B', 2, 2, 1, 'Lantern', 250, true, NULL, NULL);

INSERT INTO cart.idempotency_keys (principal, route, key, body_sha256, status, headers, body, expires_at)
VALUES (
  'customer:ada00000-0000-4000-8000-000000000001', 'POST /items', 'k', sha256('body'), 200, '{}', '{}',
  now() + interval '1 day'
);
