-- The customer's cart is held by the checkout that is half-way; two are done, one let go.
INSERT INTO cart.checkouts (checkout_id, state, customer_id, content)
VALUES
  ('c0000000-0000-4000-8000-000000000001', 'closed', NULL, NULL),
  (
    'c0000000-0000-4000-8000-000000000002', 'frozen', 'ada00000-0000-4000-8000-000000000001',
    '{"checkout_id": "c0000000-0000-4000-8000-000000000002", "state": "frozen",
      "cart_id": "ca000000-0000-4000-8000-000000000001", "version": 3, "currency": "CAD",
      "items": [{"sku": "A", "product_id": 1, "product_version": 2, "name": "Café Crème", "quantity": 3,
                 "unit_price_cents": 1000, "available": true}]}'
  ),
  ('c0000000-0000-4000-8000-000000000003', 'released', NULL, NULL),
  ('c0000000-0000-4000-8000-000000000004', 'closed', NULL, NULL);
UPDATE cart.carts
SET checkout_id = 'c0000000-0000-4000-8000-000000000002'
WHERE cart_id = 'ca000000-0000-4000-8000-000000000001';
