-- Two products, one of which has had another price, and a kept answer.
INSERT INTO products.products (sku, name, description, category, price_cents, currency)
VALUES
  ('A', 'Café Crème', 'Tasse à motif d''été', 'toys', 900, 'CAD'),
  ('B', 'Lantern', '', 'garden', 250, 'CAD');
UPDATE products.products SET price_cents = 1000, version = version + 1 WHERE sku = 'A';

INSERT INTO products.idempotency_keys (principal, route, key, body_sha256, status, headers, body, expires_at)
VALUES ('hq:ada', 'POST /', 'k', sha256('body'), 201, '{}', '{"sku": "A"}', now() + interval '1 day');
