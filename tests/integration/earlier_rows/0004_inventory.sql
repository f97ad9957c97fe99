-- Every kind of movement, and a reservation in each state. W1 has what the web shop's orders of later files took:
-- c…1 and c…4 were bought, c…2 is being bought, c…3 came to nothing, c…5 was left alone.
INSERT INTO inventory.stock (location, sku, on_hand, reserved, low_at)
VALUES ('W1', 'A', 94, 3, 10), ('W1', 'B', 49, 0, NULL), ('S1', 'A', 4, 0, 5), ('S1', 'B', 7, 0, 0);

INSERT INTO inventory.ledger (location, sku, quantity, on_hand, kind, reason, reference, moved_by)
VALUES
  ('W1', 'A', 100, 100, 'receipt', 'opening stock', 'opening', 'head'),
  ('W1', 'B', 50, 50, 'receipt', 'opening stock', 'opening', 'head'),
  ('W1', 'A', -5, 95, 'transfer_out', NULL, 'van 1', 'head'),
  ('S1', 'A', 5, 5, 'transfer_in', NULL, 'van 1', 'head'),
  ('S1', 'A', -1, 4, 'sale', NULL, '5a000000-0000-4000-8000-000000000001', 'sales'),
  ('S1', 'B', 10, 10, 'receipt', NULL, NULL, 'staff-S1'),
  ('S1', 'B', -1, 9, 'adjustment', 'counted', NULL, 'staff-S1'),
  ('S1', 'B', -2, 7, 'write_off', 'broken', NULL, 'staff-S1'),
  ('S1', 'B', -1, 6, 'sale', NULL, '5a000000-0000-4000-8000-000000000002', 'sales'),
  ('S1', 'B', 1, 7, 'sale_undone', NULL, '5a000000-0000-4000-8000-000000000002', 'sales'),
  ('W1', 'A', -2, 93, 'sale', NULL, 'c0000000-0000-4000-8000-000000000001', 'checkout'),
  ('W1', 'B', -1, 49, 'sale', NULL, 'c0000000-0000-4000-8000-000000000001', 'checkout'),
  ('W1', 'B', -2, 47, 'sale', NULL, 'c0000000-0000-4000-8000-000000000004', 'checkout'),
  ('W1', 'B', 2, 49, 'return', NULL, '0d000000-0000-4000-8000-000000000004:cancel', 'orders'),
  ('W1', 'A', 1, 94, 'return', NULL, '0e000000-0000-4000-8000-000000000001', 'orders');

INSERT INTO inventory.issues (reference, state, location, lines, issued_at, undone_at)
VALUES
  ('5a000000-0000-4000-8000-000000000001', 'issued', 'S1', '[{"sku": "A", "quantity": 1}]', now(), NULL),
  ('5a000000-0000-4000-8000-000000000002', 'undone', 'S1', '[{"sku": "B", "quantity": 1}]', now(), now()),
  ('never issued', 'undone', NULL, NULL, NULL, now());

INSERT INTO inventory.goods_returns (reference, location, lines, restock)
VALUES
  ('0d000000-0000-4000-8000-000000000004:cancel', 'W1', '[{"sku": "B", "quantity": 2}]', true),
  ('0e000000-0000-4000-8000-000000000001', 'W1', '[{"sku": "A", "quantity": 1}]', true);

INSERT INTO inventory.bulk_receipts (reference, lines_sha256)
VALUES ('opening', sha256('lines'));

INSERT INTO inventory.reservations (reservation_id, state, location, reference, expires_at, settled_at)
VALUES
  ('c0000000-0000-4000-8000-000000000001', 'committed', 'W1', NULL, now() + interval '10 minutes', now()),
  ('c0000000-0000-4000-8000-000000000002', 'open', 'W1', 'being bought', now() + interval '10 minutes', NULL),
  ('c0000000-0000-4000-8000-000000000003', 'released', 'W1', NULL, now() + interval '10 minutes', now()),
  ('c0000000-0000-4000-8000-000000000004', 'committed', 'W1', NULL, now() + interval '10 minutes', now()),
  ('c0000000-0000-4000-8000-000000000005', 'expired', 'W1', NULL, now() - interval '10 minutes', now());

INSERT INTO inventory.reservation_lines (reservation_id, sku, quantity)
VALUES
  ('c0000000-0000-4000-8000-000000000001', 'A', 2),
  ('c0000000-0000-4000-8000-000000000001', 'B', 1),
  ('c0000000-0000-4000-8000-000000000002', 'A', 3),
  ('c0000000-0000-4000-8000-000000000003', 'A', 1),
  ('c0000000-0000-4000-8000-000000000004', 'B', 2),
  ('c0000000-0000-4000-8000-000000000005', 'B', 5);

INSERT INTO inventory.replenishments (location, state, note, asked_by, decided_by, decided_at, reason)
VALUES
  ('S1', 'requested', 'for Saturday', 'staff-S1', NULL, NULL, NULL),
  ('S1', 'refused', NULL, 'staff-S1', 'head', now(), 'none left');

INSERT INTO inventory.replenishment_lines (replenishment_id, sku, requested)
VALUES (1, 'A', 5), (2, 'B', 500);

INSERT INTO inventory.idempotency_keys (principal, route, key, body_sha256, status, headers, body, expires_at)
VALUES ('hq:head', 'POST /receipts', 'k', sha256('body'), 201, '{}', '{"movements": []}', now() + interval '1 day');
