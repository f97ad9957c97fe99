-- One order shipped, of which a part came back; one being paid; one given up; one paid, then cancelled.
-- And a checkout that was abandoned before it had an order.
INSERT INTO orders.checkouts (checkout_id, order_id, reason)
VALUES
  ('c0000000-0000-4000-8000-000000000001', '0d000000-0000-4000-8000-000000000001', NULL),
  ('c0000000-0000-4000-8000-000000000002', '0d000000-0000-4000-8000-000000000002', NULL),
  ('c0000000-0000-4000-8000-000000000003', '0d000000-0000-4000-8000-000000000003', NULL),
  ('c0000000-0000-4000-8000-000000000004', '0d000000-0000-4000-8000-000000000004', NULL),
  ('c0000000-0000-4000-8000-000000000005', NULL, 'left alone');

INSERT INTO orders.orders (
  order_id, number, checkout_id, customer_id, location, time_zone, reservation_id, currency, subtotal_cents, taxes,
  tax_cents, address, content_sha256, changed_by, created_at
)
SELECT
  order_id::uuid, number, checkout_id::uuid, 'ada00000-0000-4000-8000-000000000001', 'W1', 'America/Toronto',
  checkout_id::uuid, 'CAD', subtotal,
  jsonb_build_array(
    jsonb_build_object('name', 'TPS', 'percent', '5', 'amount_cents', tps),
    jsonb_build_object('name', 'TVQ', 'percent', '9.975', 'amount_cents', tvq)
  ),
  tps + tvq,
  '{"name": "Ada", "line1": "12 rue des Érables", "line2": null, "city": "Montréal", "province": "QC",
    "postal_code": "H2X 1Y4", "country": "CA", "phone": null}',
  sha256('content'), 'checkout', '2026-01-06 12:00+00'
FROM (
  VALUES
    ('0d000000-0000-4000-8000-000000000001', '000000000', 'c0000000-0000-4000-8000-000000000001', 2250, 113, 224),
    ('0d000000-0000-4000-8000-000000000002', '100000002', 'c0000000-0000-4000-8000-000000000002', 3000, 150, 299),
    ('0d000000-0000-4000-8000-000000000003', '200000004', 'c0000000-0000-4000-8000-000000000003', 1000, 50, 100),
    ('0d000000-0000-4000-8000-000000000004', '300000006', 'c0000000-0000-4000-8000-000000000004', 500, 25, 50)
) AS bought (order_id, number, checkout_id, subtotal, tps, tvq);

INSERT INTO orders.order_lines (
  order_id, line, sku, name, category, quantity, unit_price_cents, tax_parts_cents, tax_cents, returned_quantity,
  returned_tax_parts_cents
)
VALUES
  ('0d000000-0000-4000-8000-000000000001', 1, 'A', 'Café Crème', 'toys', 2, 1000, '{100,199}', 299, 1, '{50,99}'),
  ('0d000000-0000-4000-8000-000000000001', 2, 'B', 'Lantern', 'garden', 1, 250, '{13,25}', 38, 0, '{0,0}'),
  ('0d000000-0000-4000-8000-000000000002', 1, 'A', 'Café Crème', 'toys', 3, 1000, '{150,299}', 449, 0, '{0,0}'),
  ('0d000000-0000-4000-8000-000000000003', 1, 'A', 'Café Crème', 'toys', 1, 1000, '{50,100}', 150, 0, '{0,0}'),
  ('0d000000-0000-4000-8000-000000000004', 1, 'B', 'Lantern', 'garden', 2, 250, '{25,50}', 75, 0, '{0,0}');

UPDATE orders.orders
SET status = 'cancelled', cancelled_at = '2026-01-06 12:01+00', change_note = 'declined'
WHERE order_id = '0d000000-0000-4000-8000-000000000003';

UPDATE orders.orders
SET status = 'paid', paid_at = '2026-01-06 12:01+00', captured_cents = total_cents, payment_reference = checkout_id
WHERE order_id IN ('0d000000-0000-4000-8000-000000000001', '0d000000-0000-4000-8000-000000000004');

UPDATE orders.orders
SET status = 'packed', packed_at = '2026-01-06 14:00+00', changed_by = 'staff-W1'
WHERE order_id = '0d000000-0000-4000-8000-000000000001';
UPDATE orders.orders
SET status = 'shipped', shipped_at = '2026-01-06 15:00+00', carrier = 'Postes Canada', tracking = 'RB 123'
WHERE order_id = '0d000000-0000-4000-8000-000000000001';

INSERT INTO orders.returns (
  return_id, order_id, status, location, business_date, reason, returned_by, created_at, booked_at, completed_at,
  subtotal_cents, taxes, tax_cents, request, request_sha256
)
VALUES (
  '0e000000-0000-4000-8000-000000000001', '0d000000-0000-4000-8000-000000000001', 'complete', 'W1', '2026-01-07',
  'did not fit', 'head', '2026-01-07 12:00+00', '2026-01-07 12:00+00', '2026-01-07 12:00+00', 1000,
  '[{"name": "TPS", "percent": "5", "amount_cents": 50}, {"name": "TVQ", "percent": "9.975", "amount_cents": 99}]', 149,
  'head k', sha256('body')
);
INSERT INTO orders.return_lines (
  return_id, line, order_id, order_line, sku, name, category, restock, quantity, unit_price_cents, tax_parts_cents, tax_cents
)
VALUES (
  '0e000000-0000-4000-8000-000000000001', 1, '0d000000-0000-4000-8000-000000000001', 1, 'A', 'Café Crème', 'toys', true, 1,
  1000, '{50,99}', 149
);
UPDATE orders.orders
SET refunded_cents = 1149
WHERE order_id = '0d000000-0000-4000-8000-000000000001';

UPDATE orders.orders
SET status = 'cancelled', cancelled_at = '2026-01-06 13:00+00', changed_by = 'ada', change_note = 'changed my mind'
WHERE order_id = '0d000000-0000-4000-8000-000000000004';
UPDATE orders.orders
SET status = 'refunded', refunded_at = '2026-01-06 13:00+00', refunded_cents = captured_cents,
  restocked_at = '2026-01-06 13:00+00', change_note = NULL
WHERE order_id = '0d000000-0000-4000-8000-000000000004';

INSERT INTO orders.idempotency_keys (principal, route, key, body_sha256, status, headers, body, expires_at)
VALUES ('customer:ada', 'POST /{order}/cancel', 'k', sha256('body'), 200, '{}', '{}', now() + interval '1 day');
