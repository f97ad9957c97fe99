-- Two that were done, one that was declined, and one half-way: its card has been asked, its stock has not left.
INSERT INTO checkout.checkouts (
  checkout_id, customer_id, request_key, body_sha256, request_id, state, step, cart_version, agreed_cents, location, address,
  facts, code, order_id, order_number, answer_status, answer_headers, answer_body, give_up_at, settled_at
)
VALUES
  (
    'c0000000-0000-4000-8000-000000000001', 'ada00000-0000-4000-8000-000000000001', 'k1', sha256('1'), 'r1', 'complete',
    'clear', 1, 2587, 'W1', '{"name": "Ada"}', '{"bill": {"total_cents": 2587, "currency": "CAD"}}', NULL,
    '0d000000-0000-4000-8000-000000000001', '0000-0000-0', 201, '{}', '{}', now() + interval '5 minutes', now()
  ),
  (
    'c0000000-0000-4000-8000-000000000002', 'ada00000-0000-4000-8000-000000000001', 'k2', sha256('2'), 'r2', 'open',
    'commit', 3, 3449, 'W1', '{"name": "Ada"}',
    '{"items": [{"sku": "A", "quantity": 3}], "bill": {"total_cents": 3449, "currency": "CAD"}}', NULL,
    '0d000000-0000-4000-8000-000000000002', '1000-0000-2', NULL, NULL, NULL, now() + interval '5 minutes', NULL
  ),
  (
    'c0000000-0000-4000-8000-000000000003', 'ada00000-0000-4000-8000-000000000001', 'k3', sha256('3'), 'r3', 'refused',
    'authorise', 1, 1150, 'W1', '{"name": "Ada"}', '{"bill": {"total_cents": 1150, "currency": "CAD"}}', 'card_declined',
    NULL, NULL, 402, '{}', '{}', now() + interval '5 minutes', now()
  ),
  (
    'c0000000-0000-4000-8000-000000000004', 'ada00000-0000-4000-8000-000000000001', 'k4', sha256('4'), 'r4', 'complete',
    'clear', 2, 575, 'W1', '{"name": "Ada"}', '{"bill": {"total_cents": 575, "currency": "CAD"}}', NULL,
    '0d000000-0000-4000-8000-000000000004', '3000-0000-6', 201, '{}', '{}', now() + interval '5 minutes', now()
  );

INSERT INTO checkout.steps (checkout_id, step, done_at, undo_attempts, undo_begun_at, undone_at)
VALUES
  ('c0000000-0000-4000-8000-000000000001', 'clear', clock_timestamp() + interval '1 second', 0, NULL, NULL),
  ('c0000000-0000-4000-8000-000000000002', 'authorise', clock_timestamp() + interval '1 second', 0, NULL, NULL),
  ('c0000000-0000-4000-8000-000000000002', 'commit', NULL, 0, NULL, NULL),
  ('c0000000-0000-4000-8000-000000000003', 'reserve', clock_timestamp() + interval '1 second', 1, now(), now());
