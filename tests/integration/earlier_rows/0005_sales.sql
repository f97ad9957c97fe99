-- A day of one store: a register that was counted and one that is open, a sale paid in two ways, one that was voided,
-- one that is half-way, and a return.
INSERT INTO sales.register_sessions (
  store, register, business_date, opened_by, opening_cash_cents, closed_at, closed_by, counted_cash_cents, expected_cash_cents
)
VALUES
  ('S1', '1', '2026-01-05', 'staff-S1', 10000, '2026-01-05 22:00+00', 'staff-S1', 15425, 15425),
  ('S1', '2', '2026-01-05', 'staff-S1', 5000, NULL, NULL, NULL, NULL);

INSERT INTO sales.gift_cards (code_sha256, last_four, currency, balance_cents, store, session_id, paid_by, issued_by)
VALUES (sha256('GIFT-0001'), '0001', 'CAD', 4275, 'S1', 1, 'cash', 'staff-S1');

INSERT INTO sales.gift_card_entries (gift_card_id, kind, reference, amount_cents)
VALUES (1, 'issue', 'sold', 5000), (1, 'charge', '5a000000-0000-4000-8000-000000000001', -725);

INSERT INTO sales.receipt_counters (store, business_date, series, last_number)
VALUES ('S1', '2026-01-05', 'sale', 2), ('S1', '2026-01-05', 'return', 1);

INSERT INTO sales.sales (
  sale_id, status, origin, store, register, session_id, cashier, business_date, sold_at, completed_at, receipt_number,
  currency, subtotal_cents, taxes, tax_cents, change_cents, document, request, request_sha256, voided_at
)
VALUES
  (
    '5a000000-0000-4000-8000-000000000001', 'complete', 'till', 'S1', '1', 1, 'staff-S1', '2026-01-05',
    '2026-01-05 15:00+00', '2026-01-05 15:00+00', 1, 'CAD', 1500,
    '[{"name": "TPS", "percent": "5", "amount_cents": 75}, {"name": "TVQ", "percent": "9.975", "amount_cents": 150}]',
    225, 1000, NULL, 'staff-S1 k1', sha256('1'), NULL
  ),
  (
    '5a000000-0000-4000-8000-000000000002', 'voided', 'till', 'S1', '1', 1, 'staff-S1', '2026-01-05',
    '2026-01-05 16:00+00', '2026-01-05 16:00+00', 2, 'CAD', 250, '[]', 0, 0, NULL, 'staff-S1 k2', sha256('2'),
    '2026-01-05 17:00+00'
  ),
  (
    '5a000000-0000-4000-8000-000000000003', 'pending', 'till', 'S1', '2', 2, 'staff-S1', '2026-01-05',
    '2026-01-05 18:00+00', NULL, NULL, 'CAD', 250, '[]', 0, 0, NULL, 'staff-S1 k3', sha256('3'), NULL
  );

INSERT INTO sales.sale_lines (
  sale_id, line, sku, name, category, charge, quantity, list_price_cents, unit_price_cents, tax_parts_cents, tax_cents,
  returned_quantity, returned_tax_parts_cents, sold_at
)
VALUES
  (
    '5a000000-0000-4000-8000-000000000001', 1, 'A', 'Café Crème', 'toys', false, 1, 1000, 1000, '{50,100}', 150, 0,
    '{0,0}', '2026-01-05 15:00+00'
  ),
  (
    '5a000000-0000-4000-8000-000000000001', 2, 'POST', 'Postage', 'charges', true, 1, 500, 500, '{25,50}', 75, 1,
    '{25,50}', '2026-01-05 15:00+00'
  ),
  (
    '5a000000-0000-4000-8000-000000000002', 1, 'B', 'Lantern', 'garden', false, 1, 250, 250, '{}', 0, 0, '{}',
    '2026-01-05 16:00+00'
  ),
  (
    '5a000000-0000-4000-8000-000000000003', 1, 'B', 'Lantern', 'garden', false, 1, 250, 250, '{}', 0, 0, '{}',
    '2026-01-05 18:00+00'
  );

INSERT INTO sales.tenders (sale_id, tender, kind, amount_cents, given_cents, gift_card_id)
VALUES
  ('5a000000-0000-4000-8000-000000000001', 1, 'cash', 1000, 2000, NULL),
  ('5a000000-0000-4000-8000-000000000001', 2, 'gift_card', 725, 725, 1),
  ('5a000000-0000-4000-8000-000000000002', 1, 'cash', 250, 250, NULL),
  ('5a000000-0000-4000-8000-000000000003', 1, 'cash', 250, 250, NULL);

INSERT INTO sales.returns (
  return_id, sale_id, status, origin, store, register, session_id, cashier, business_date, returned_at, completed_at,
  receipt_number, currency, subtotal_cents, taxes, tax_cents, refund_kind, reason, request, request_sha256
)
VALUES (
  '5e000000-0000-4000-8000-000000000001', '5a000000-0000-4000-8000-000000000001', 'complete', 'till', 'S1', '1', 1,
  'staff-S1', '2026-01-05', '2026-01-05 19:00+00', '2026-01-05 19:00+00', 1, 'CAD', 500,
  '[{"name": "TPS", "percent": "5", "amount_cents": 25}, {"name": "TVQ", "percent": "9.975", "amount_cents": 50}]', 75,
  'cash', 'never posted', 'staff-S1 k4', sha256('4')
);

INSERT INTO sales.return_lines (
  return_id, line, sale_id, sale_line, sku, name, category, charge, restock, quantity, unit_price_cents, tax_parts_cents,
  tax_cents, returned_at
)
VALUES (
  '5e000000-0000-4000-8000-000000000001', 1, '5a000000-0000-4000-8000-000000000001', 2, 'POST', 'Postage', 'charges', true,
  true, 1, 500, '{25,50}', 75, '2026-01-05 19:00+00'
);

INSERT INTO sales.cash_movements (session_id, kind, reference, amount_cents)
VALUES
  (1, 'gift_card', 'sold', 5000),
  (1, 'sale', '5a000000-0000-4000-8000-000000000001', 1000),
  (1, 'sale', '5a000000-0000-4000-8000-000000000002', 250),
  (1, 'void', '5a000000-0000-4000-8000-000000000002', -250),
  (1, 'return', '5e000000-0000-4000-8000-000000000001', -575);

INSERT INTO sales.idempotency_keys (principal, route, key, body_sha256, status, headers, body, expires_at)
VALUES ('staff:staff-S1', 'POST /gift-cards', 'k', sha256('body'), 201, '{}', '{}', now() + interval '1 day');
