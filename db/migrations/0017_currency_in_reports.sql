-- Reports see in which currency a product is priced: cents of different currencies were added up in the value of stock.

-- migrate:up

SET LOCAL ROLE products_owner;

CREATE OR REPLACE VIEW products.report_products AS
SELECT sku, name, category, price_cents, active, currency
FROM products.products;

RESET ROLE;

-- migrate:down

SET LOCAL ROLE products_owner;

-- A view that is replaced keeps all of its columns.
DROP VIEW products.report_products;
CREATE VIEW products.report_products AS
SELECT sku, name, category, price_cents, active
FROM products.products;
COMMENT ON VIEW products.report_products IS 'One row is a product as the catalogue has it now.';
GRANT SELECT ON products.report_products TO reports;

RESET ROLE;
