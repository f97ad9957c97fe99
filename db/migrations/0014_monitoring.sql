-- What Prometheus is told of the shop, as views that count and name nobody, and a role that reads them and nothing else.
-- Each view belongs to the owner of the tables that it counts, so none of those has to be granted to anyone.

-- migrate:up

DO $$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'monitoring_owner') THEN
    CREATE ROLE monitoring_owner NOLOGIN;
  END IF;
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'monitoring') THEN
    CREATE ROLE monitoring LOGIN;
  END IF;
  EXECUTE format('GRANT CONNECT ON DATABASE %I TO monitoring', current_database());
END $$;

-- The statistics of the server: sizes, sessions, locks.
GRANT pg_monitor TO monitoring;
ALTER ROLE monitoring SET default_transaction_read_only = on;
-- Less than Prometheus waits, so that a count that takes too long costs only itself.
ALTER ROLE monitoring SET statement_timeout = '3s';
ALTER ROLE monitoring SET lock_timeout = '1s';
ALTER ROLE monitoring SET jit = off;
ALTER ROLE monitoring SET max_parallel_workers_per_gather = 0;

CREATE SCHEMA monitoring AUTHORIZATION monitoring_owner;
GRANT USAGE ON SCHEMA monitoring TO monitoring;
GRANT USAGE, CREATE ON SCHEMA monitoring TO cart_owner, checkout_owner, inventory_owner, orders_owner, sales_owner;

SET LOCAL ROLE inventory_owner;

CREATE VIEW monitoring.reservations AS
SELECT states.state, count(reservation_id) AS reservations
FROM (VALUES ('open'), ('overdue')) AS states (state)
LEFT JOIN inventory.reservations
  ON reservations.state = 'open' AND (expires_at <= now()) = (states.state = 'overdue')
GROUP BY states.state;
COMMENT ON VIEW monitoring.reservations IS
  'Promises of stock that hold (open), and those whose time has passed and that still hold it (overdue).';

CREATE VIEW monitoring.stockouts AS
SELECT locations.location, count(sku) AS stockouts
FROM inventory.locations
LEFT JOIN inventory.stock ON stock.location = locations.location AND on_hand = reserved
GROUP BY locations.location;
COMMENT ON VIEW monitoring.stockouts IS 'Products that a location keeps and has none of to sell.';

CREATE VIEW monitoring.stock_mismatches AS
SELECT count(*) AS mismatches
FROM inventory.stock
FULL JOIN (
  SELECT location, sku, sum(quantity) AS quantity
  FROM inventory.ledger
  GROUP BY location, sku
) AS ledger USING (location, sku)
WHERE coalesce(stock.on_hand, 0) <> coalesce(ledger.quantity, 0);
COMMENT ON VIEW monitoring.stock_mismatches IS 'Rows of stock that are not the sum of their ledger; anything but 0 is a fault.';

CREATE VIEW monitoring.reserved_mismatches AS
SELECT count(*) AS mismatches
FROM (
  SELECT location, sku, reserved
  FROM inventory.stock
  WHERE reserved <> 0
) AS stock
FULL JOIN (
  SELECT location, sku, sum(quantity) AS quantity
  FROM inventory.reservations
  JOIN inventory.reservation_lines USING (reservation_id)
  WHERE state = 'open'
  GROUP BY location, sku
) AS promised USING (location, sku)
WHERE coalesce(stock.reserved, 0) <> coalesce(promised.quantity, 0);
COMMENT ON VIEW monitoring.reserved_mismatches IS
  'Rows of stock whose reserved quantity is not that of the open reservations; anything but 0 is a fault.';

SET LOCAL ROLE cart_owner;

CREATE VIEW monitoring.carts AS
SELECT 'open' AS state, count(*) AS carts
FROM cart.carts
WHERE expires_at > now();
COMMENT ON VIEW monitoring.carts IS 'Carts whose time has not passed.';

SET LOCAL ROLE checkout_owner;

CREATE VIEW monitoring.checkouts AS
WITH unsettled AS (
  SELECT state, step
  FROM checkout.checkouts
  WHERE state IN ('open', 'undoing')
)
SELECT states.state, steps.step, count(unsettled.state) AS checkouts
FROM (VALUES ('open'), ('undoing')) AS states (state)
CROSS JOIN (
  VALUES
    ('freeze'), ('price'), ('reserve'), ('order'), ('authorise'), ('commit'), ('capture'), ('mark_paid'), ('clear')
) AS steps (step)
LEFT JOIN unsettled ON unsettled.state = states.state AND unsettled.step = steps.step
GROUP BY states.state, steps.step;
COMMENT ON VIEW monitoring.checkouts IS 'Checkouts that are not settled, by whether they go forward or back and the step they are at.';

CREATE VIEW monitoring.checkouts_oldest AS
SELECT coalesce(greatest(extract(epoch FROM now() - min(created_at)), 0), 0)::double precision AS seconds
FROM checkout.checkouts
WHERE state IN ('open', 'undoing');
COMMENT ON VIEW monitoring.checkouts_oldest IS 'How long ago the oldest checkout began that is not settled; 0 when all are.';

SET LOCAL ROLE orders_owner;

CREATE VIEW monitoring.orders AS
SELECT states.state, coalesce(counted.orders, 0) AS orders
FROM (
  VALUES ('pending'), ('paid'), ('packed'), ('shipped'), ('delivered'), ('cancelled'), ('returned'), ('refunded')
) AS states (state)
LEFT JOIN (
  SELECT status, count(*) AS orders
  FROM orders.orders
  GROUP BY status
) AS counted ON counted.status = states.state;
COMMENT ON VIEW monitoring.orders IS 'Orders of all time, by the state that they are in.';

SET LOCAL ROLE sales_owner;

-- What is younger is being worked on. When a void began is not kept, so those are all here.
CREATE VIEW monitoring.sales_unsettled AS
SELECT (
  SELECT count(*)
  FROM sales.sales
  WHERE status IN ('pending', 'undoing', 'voiding')
    AND (status = 'voiding' OR created_at < now() - interval '30 seconds')
) + (
  SELECT count(*)
  FROM sales.returns
  WHERE status = 'pending'
    AND created_at < now() - interval '30 seconds'
) AS unsettled;
COMMENT ON VIEW monitoring.sales_unsettled IS 'Sales, voids and returns of the tills that were left half-way.';

RESET ROLE;

REVOKE ALL ON SCHEMA monitoring FROM cart_owner, checkout_owner, inventory_owner, orders_owner, sales_owner;
GRANT SELECT ON ALL TABLES IN SCHEMA monitoring TO monitoring;

-- migrate:down

DROP VIEW monitoring.sales_unsettled;
DROP VIEW monitoring.orders;
DROP VIEW monitoring.checkouts_oldest;
DROP VIEW monitoring.checkouts;
DROP VIEW monitoring.carts;
DROP VIEW monitoring.reserved_mismatches;
DROP VIEW monitoring.stock_mismatches;
DROP VIEW monitoring.stockouts;
DROP VIEW monitoring.reservations;
DROP SCHEMA monitoring RESTRICT;

DO $$
DECLARE
  role_name text;
BEGIN
  EXECUTE format('REVOKE CONNECT ON DATABASE %I FROM monitoring', current_database());
  FOREACH role_name IN ARRAY ARRAY['monitoring', 'monitoring_owner'] LOOP
    BEGIN
      EXECUTE format('DROP ROLE %I', role_name);
    EXCEPTION WHEN dependent_objects_still_exist THEN
      RAISE NOTICE 'role % stays: another database of this server uses it', role_name;
    END;
  END LOOP;
END $$;
