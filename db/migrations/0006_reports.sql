-- Reports read what sales, inventory and products grant as views, and keep sums of sales so that a report costs what it answers.
-- The login role reads only: what it reads is brought up to date by two procedures of the owner that take nothing from it.

-- migrate:up

CALL public.create_function_home('reports');

-- A second lock on the same door: whoever forgets a GRANT still cannot write.
ALTER ROLE reports SET default_transaction_read_only = on;
-- Compiling a plan, or starting workers for it, takes longer than these queries do.
ALTER ROLE reports SET jit = off;
ALTER ROLE reports SET max_parallel_workers_per_gather = 0;
ALTER ROLE reports SET work_mem = '32MB';

SET LOCAL ROLE sales_owner;

CREATE VIEW sales.report_documents AS
SELECT
  sale_id AS document_id, 'sale' AS kind, store, channel, business_date, sold_at AS occurred_at,
  status <> 'voided' AS counts, subtotal_cents, tax_cents, changed_xid
FROM sales.sales
WHERE completed_at IS NOT NULL
UNION ALL
SELECT
  return_id, 'return', store, channel, business_date, returned_at,
  true, subtotal_cents, tax_cents, changed_xid
FROM sales.returns
WHERE completed_at IS NOT NULL;
COMMENT ON VIEW sales.report_documents IS
  'One row is a sale or a return that has a receipt; a voided sale is here and does not count. Amounts of returns are positive.';

CREATE VIEW sales.report_lines AS
SELECT
  'sale' AS kind, sales.store, sales.channel, sales.business_date, sales.sold_at AS occurred_at,
  line.sku, line.name, line.category, line.charge, line.quantity, line.total_cents, line.tax_cents
FROM sales.sales
JOIN sales.sale_lines AS line ON line.sale_id = sales.sale_id
WHERE sales.completed_at IS NOT NULL
  AND sales.status <> 'voided'
UNION ALL
SELECT
  'return', returns.store, returns.channel, returns.business_date, returns.returned_at,
  line.sku, line.name, line.category, line.charge, line.quantity, line.total_cents, line.tax_cents
FROM sales.returns
JOIN sales.return_lines AS line ON line.return_id = returns.return_id
WHERE returns.completed_at IS NOT NULL;
COMMENT ON VIEW sales.report_lines IS 'One row is a line of a document that counts. Amounts of returns are positive.';

GRANT USAGE ON SCHEMA sales TO reports_owner;
GRANT SELECT ON sales.report_documents, sales.report_lines TO reports_owner;

SET LOCAL ROLE inventory_owner;

CREATE VIEW inventory.report_locations AS
SELECT location, name, kind, time_zone
FROM inventory.locations;
COMMENT ON VIEW inventory.report_locations IS 'One row is a place that keeps stock.';

CREATE VIEW inventory.report_stock AS
SELECT location, sku, on_hand, reserved, on_hand - reserved AS available, low_at
FROM inventory.stock;
COMMENT ON VIEW inventory.report_stock IS 'One row is what one location has of one SKU now.';

CREATE VIEW inventory.report_requests AS
SELECT request.location, line.sku, sum(line.requested)::bigint AS requested
FROM inventory.replenishments AS request
JOIN inventory.replenishment_lines AS line ON line.replenishment_id = request.replenishment_id
WHERE request.state = 'requested'
GROUP BY request.location, line.sku;
COMMENT ON VIEW inventory.report_requests IS
  'One row is what a location has asked the warehouse for of one SKU and has not been answered yet.';

GRANT USAGE ON SCHEMA inventory TO reports, reports_owner;
GRANT SELECT ON inventory.report_locations TO reports, reports_owner;
GRANT SELECT ON inventory.report_stock, inventory.report_requests TO reports;

SET LOCAL ROLE products_owner;

CREATE VIEW products.report_products AS
SELECT sku, name, category, price_cents, active
FROM products.products;
COMMENT ON VIEW products.report_products IS 'One row is a product as the catalogue has it now.';

GRANT USAGE ON SCHEMA products TO reports;
GRANT SELECT ON products.report_products TO reports;

SET LOCAL ROLE reports_owner;

CREATE TABLE reports.progress (
  single boolean NOT NULL DEFAULT true,
  scanned_xid xid8 NOT NULL DEFAULT '0',
  scanned_at timestamptz,
  as_of timestamptz,
  CONSTRAINT progress_pkey PRIMARY KEY (single),
  CONSTRAINT progress_single_check CHECK (single)
);
COMMENT ON TABLE reports.progress IS
  'The only row: all that was committed before as_of is in the facts; changes are looked for from scanned_xid on.';
INSERT INTO reports.progress DEFAULT VALUES;

CREATE TABLE reports.stale_days (
  store text NOT NULL,
  business_date date NOT NULL,
  changed boolean NOT NULL,
  CONSTRAINT stale_days_pkey PRIMARY KEY (store, business_date)
);
COMMENT ON TABLE reports.stale_days IS
  'One row is a store''s day to be summed: a document in it has changed, or (not changed) it is part of a rebuild.';

CREATE TABLE reports.stale_months (
  month date NOT NULL,
  CONSTRAINT stale_months_pkey PRIMARY KEY (month),
  CONSTRAINT stale_months_month_check CHECK (month = date_trunc('month', month))
);
COMMENT ON TABLE reports.stale_months IS
  'One row is a month whose facts above the single store''s day a rebuild is to sum from those below, after its days.';

CREATE TABLE reports.products (
  product_key integer GENERATED ALWAYS AS IDENTITY,
  sku text NOT NULL,
  category text NOT NULL,
  charge boolean NOT NULL,
  name text NOT NULL,
  CONSTRAINT products_pkey PRIMARY KEY (product_key),
  CONSTRAINT products_sku_key UNIQUE (sku, category, charge)
);
COMMENT ON TABLE reports.products IS
  'One row is a SKU as it was sold: in this category, as goods or as a charge. The name is that of its first sale.';

-- The measures of all facts. Amounts are before tax; those of returns are positive; tax is that of sales less that of returns.

CREATE TABLE reports.day_sales (
  store text NOT NULL,
  business_date date NOT NULL,
  channel text NOT NULL,
  sale_count bigint NOT NULL,
  return_count bigint NOT NULL,
  void_count bigint NOT NULL,
  line_count bigint NOT NULL,
  units_sold bigint NOT NULL,
  units_returned bigint NOT NULL,
  sold_cents bigint NOT NULL,
  returned_cents bigint NOT NULL,
  tax_cents bigint NOT NULL,
  CONSTRAINT day_sales_pkey PRIMARY KEY (store, business_date, channel)
);
COMMENT ON TABLE reports.day_sales IS 'One row is what one store sold on one of its days through one channel.';

CREATE TABLE reports.hour_sales (
  period text NOT NULL,
  store text NOT NULL,
  period_start date NOT NULL,
  channel text NOT NULL,
  hour smallint NOT NULL,
  sale_count bigint NOT NULL,
  return_count bigint NOT NULL,
  void_count bigint NOT NULL,
  line_count bigint NOT NULL,
  units_sold bigint NOT NULL,
  units_returned bigint NOT NULL,
  sold_cents bigint NOT NULL,
  returned_cents bigint NOT NULL,
  tax_cents bigint NOT NULL,
  CONSTRAINT hour_sales_pkey PRIMARY KEY (period, store, period_start, channel, hour),
  CONSTRAINT hour_sales_period_check CHECK (period = 'day' OR period = 'month' AND period_start = date_trunc('month', period_start)),
  CONSTRAINT hour_sales_hour_check CHECK (hour BETWEEN 0 AND 23)
);
COMMENT ON TABLE reports.hour_sales IS
  'One row is what one store sold in one hour of its clock, on one day or on all days of one month, through one channel.';

CREATE TABLE reports.category_sales (
  period text NOT NULL,
  store text NOT NULL,
  period_start date NOT NULL,
  channel text NOT NULL,
  category text NOT NULL,
  line_count bigint NOT NULL,
  units_sold bigint NOT NULL,
  units_returned bigint NOT NULL,
  sold_cents bigint NOT NULL,
  returned_cents bigint NOT NULL,
  tax_cents bigint NOT NULL,
  CONSTRAINT category_sales_pkey PRIMARY KEY (period, store, period_start, channel, category),
  CONSTRAINT category_sales_period_check CHECK (period = 'day' OR period = 'month' AND period_start = date_trunc('month', period_start))
);
COMMENT ON TABLE reports.category_sales IS
  'One row is what one store sold of one category, on one day or in one month, through one channel.';

CREATE TABLE reports.product_sales (
  period text NOT NULL,
  store text NOT NULL,
  period_start date NOT NULL,
  channel text NOT NULL,
  product_key integer NOT NULL,
  line_count bigint NOT NULL,
  units_sold bigint NOT NULL,
  units_returned bigint NOT NULL,
  sold_cents bigint NOT NULL,
  returned_cents bigint NOT NULL,
  tax_cents bigint NOT NULL,
  CONSTRAINT product_sales_pkey PRIMARY KEY (period, store, period_start, channel, product_key),
  CONSTRAINT product_sales_product_key_fkey FOREIGN KEY (product_key) REFERENCES reports.products,
  CONSTRAINT product_sales_period_check CHECK (period = 'day' OR period = 'month' AND period_start = date_trunc('month', period_start))
)
PARTITION BY LIST (period);
COMMENT ON TABLE reports.product_sales IS
  'One row is what one store, or the whole chain (*), sold of one product, on one day or in one month, through one channel.';
-- Each kind of rows keeps together on the disk: a report reads thousands of one kind that lie side by side.
-- Rows of the chain and of months are changed by every day of every store; with room beside them no index is touched.
CREATE TABLE reports.product_days PARTITION OF reports.product_sales
FOR VALUES IN ('day') PARTITION BY LIST (store);
CREATE TABLE reports.product_months PARTITION OF reports.product_sales
FOR VALUES IN ('month') PARTITION BY LIST (store);
CREATE TABLE reports.product_days_of_chain PARTITION OF reports.product_days
FOR VALUES IN ('*') WITH (fillfactor = 60);
CREATE TABLE reports.product_days_of_stores PARTITION OF reports.product_days
DEFAULT WITH (fillfactor = 85);
CREATE TABLE reports.product_months_of_chain PARTITION OF reports.product_months
FOR VALUES IN ('*') WITH (fillfactor = 60);
CREATE TABLE reports.product_months_of_stores PARTITION OF reports.product_months
DEFAULT WITH (fillfactor = 60);
-- The history of one product.
CREATE INDEX product_sales_product_key ON reports.product_sales (product_key, store, period, period_start);


-- sum() of bigint counts in numeric, which takes longer than all else in a report; this one fails where bigint ends.
CREATE AGGREGATE reports.total(bigint) (
  SFUNC = int8pl, STYPE = bigint, INITCOND = '0', COMBINEFUNC = int8pl, PARALLEL = SAFE
);

-- The four steps of summing a store's day. They see one snapshot, because refresh is only called in a REPEATABLE READ transaction.

CREATE FUNCTION reports.sum_hours(a_store text, a_day date) RETURNS void
LANGUAGE plpgsql
SET search_path = reports, pg_temp
AS $$
DECLARE
  -- A store that inventory does not know keeps no time of its own.
  zone CONSTANT text := COALESCE(
    (SELECT time_zone FROM inventory.report_locations WHERE location = a_store), 'UTC'
  );
BEGIN
  DELETE FROM hour_sales WHERE period = 'day' AND store = a_store AND period_start = a_day;

  INSERT INTO hour_sales (
    period, store, period_start, channel, hour, sale_count, return_count, void_count,
    line_count, units_sold, units_returned, sold_cents, returned_cents, tax_cents
  )
  SELECT
    'day', a_store, a_day, channel, date_part('hour', occurred_at AT TIME ZONE zone),
    sum(sale_count), sum(return_count), sum(void_count),
    sum(line_count), sum(units_sold), sum(units_returned), sum(sold_cents), sum(returned_cents), sum(tax_cents)
  FROM (
    SELECT
      channel, occurred_at,
      (kind = 'sale' AND counts)::integer AS sale_count,
      (kind = 'return')::integer AS return_count,
      (NOT counts)::integer AS void_count,
      0 AS line_count, 0 AS units_sold, 0 AS units_returned, 0 AS sold_cents, 0 AS returned_cents, 0 AS tax_cents
    FROM sales.report_documents
    WHERE store = a_store AND business_date = a_day
    UNION ALL
    SELECT
      channel, occurred_at, 0, 0, 0, 1,
      CASE kind WHEN 'sale' THEN quantity ELSE 0 END,
      CASE kind WHEN 'return' THEN quantity ELSE 0 END,
      CASE kind WHEN 'sale' THEN total_cents ELSE 0 END,
      CASE kind WHEN 'return' THEN total_cents ELSE 0 END,
      CASE kind WHEN 'sale' THEN tax_cents ELSE -tax_cents END
    FROM sales.report_lines
    WHERE store = a_store AND business_date = a_day
  ) AS part
  GROUP BY channel, 5;
END $$;
COMMENT ON FUNCTION reports.sum_hours IS 'Sums the hours of a store''s day from its documents and lines.';

CREATE FUNCTION reports.sum_categories(a_store text, a_day date) RETURNS void
LANGUAGE plpgsql
SET search_path = reports, pg_temp
AS $$
BEGIN
  DELETE FROM category_sales WHERE period = 'day' AND store = a_store AND period_start = a_day;

  INSERT INTO category_sales (
    period, store, period_start, channel, category,
    line_count, units_sold, units_returned, sold_cents, returned_cents, tax_cents
  )
  SELECT
    'day', a_store, a_day, fact.channel, product.category,
    sum(line_count), sum(units_sold), sum(units_returned), sum(sold_cents), sum(returned_cents), sum(tax_cents)
  FROM product_sales AS fact
  JOIN products AS product ON product.product_key = fact.product_key
  WHERE fact.period = 'day' AND fact.store = a_store AND fact.period_start = a_day
  GROUP BY fact.channel, product.category;
END $$;
COMMENT ON FUNCTION reports.sum_categories IS 'Sums the categories of a store''s day from its products.';

-- A month has some thousand products and a refresh changes a few: the difference to what was summed before is added
-- to the day, the month, and both of the whole chain.
CREATE FUNCTION reports.sum_products(a_store text, a_day date) RETURNS void
LANGUAGE plpgsql
SET search_path = reports, pg_temp
AS $$
DECLARE
  a_month CONSTANT date := date_trunc('month', a_day);
  emptied integer;
BEGIN
  INSERT INTO products (sku, category, charge, name)
  SELECT DISTINCT ON (sku, category, charge) sku, category, charge, name
  FROM sales.report_lines AS line
  WHERE store = a_store AND business_date = a_day
    AND NOT EXISTS (
      SELECT FROM products
      WHERE (products.sku, products.category, products.charge) = (line.sku, line.category, line.charge)
    )
  ORDER BY sku, category, charge, occurred_at;

  WITH part AS (
    SELECT
      line.channel, product.product_key, 1 AS line_count,
      CASE kind WHEN 'sale' THEN quantity ELSE 0 END AS units_sold,
      CASE kind WHEN 'return' THEN quantity ELSE 0 END AS units_returned,
      CASE kind WHEN 'sale' THEN total_cents ELSE 0 END AS sold_cents,
      CASE kind WHEN 'return' THEN total_cents ELSE 0 END AS returned_cents,
      CASE kind WHEN 'sale' THEN tax_cents ELSE -tax_cents END AS tax_cents
    FROM sales.report_lines AS line
    JOIN products AS product
      ON (product.sku, product.category, product.charge) = (line.sku, line.category, line.charge)
    WHERE line.store = a_store AND line.business_date = a_day
    UNION ALL
    SELECT
      channel, product_key, -line_count, -units_sold, -units_returned, -sold_cents, -returned_cents, -tax_cents
    FROM product_sales
    WHERE period = 'day' AND store = a_store AND period_start = a_day
  ), difference AS (
    SELECT
      channel, product_key, sum(line_count) AS line_count, sum(units_sold) AS units_sold,
      sum(units_returned) AS units_returned, sum(sold_cents) AS sold_cents,
      sum(returned_cents) AS returned_cents, sum(tax_cents) AS tax_cents
    FROM part
    GROUP BY channel, product_key
    HAVING (sum(line_count), sum(units_sold), sum(units_returned), sum(sold_cents), sum(returned_cents), sum(tax_cents))
        <> (0, 0, 0, 0, 0, 0)
  ), changed AS (
    INSERT INTO product_sales AS fact (
      period, store, period_start, channel, product_key,
      line_count, units_sold, units_returned, sold_cents, returned_cents, tax_cents
    )
    SELECT
      level.period, level.store, level.period_start, channel, product_key,
      line_count, units_sold, units_returned, sold_cents, returned_cents, tax_cents
    FROM difference
    CROSS JOIN (
      VALUES ('day', a_store, a_day), ('day', '*', a_day), ('month', a_store, a_month), ('month', '*', a_month)
    ) AS level (period, store, period_start)
    ON CONFLICT ON CONSTRAINT product_sales_pkey DO UPDATE
    SET line_count = fact.line_count + excluded.line_count,
        units_sold = fact.units_sold + excluded.units_sold,
        units_returned = fact.units_returned + excluded.units_returned,
        sold_cents = fact.sold_cents + excluded.sold_cents,
        returned_cents = fact.returned_cents + excluded.returned_cents,
        tax_cents = fact.tax_cents + excluded.tax_cents
    RETURNING fact.line_count
  )
  SELECT count(*) FILTER (WHERE line_count = 0) INTO emptied
  FROM changed;

  -- A row without lines is no row, as if its only sale had never been.
  IF emptied > 0 THEN
    DELETE FROM product_sales
    WHERE store IN (a_store, '*')
      AND (period, period_start) IN (('day', a_day), ('month', a_month))
      AND line_count = 0;
  END IF;
END $$;
COMMENT ON FUNCTION reports.sum_products IS
  'Sums the products of a store''s day, and adds what that changes to the sums above it.';

CREATE FUNCTION reports.sum_above(a_store text, a_day date) RETURNS void
LANGUAGE plpgsql
SET search_path = reports, pg_temp
AS $$
DECLARE
  a_month CONSTANT date := date_trunc('month', a_day);
  last_day CONSTANT date := a_month + interval '1 month' - interval '1 day';
BEGIN
  DELETE FROM day_sales WHERE store = a_store AND business_date = a_day;
  INSERT INTO day_sales (
    store, business_date, channel, sale_count, return_count, void_count,
    line_count, units_sold, units_returned, sold_cents, returned_cents, tax_cents
  )
  SELECT
    a_store, a_day, channel, sum(sale_count), sum(return_count), sum(void_count),
    sum(line_count), sum(units_sold), sum(units_returned), sum(sold_cents), sum(returned_cents), sum(tax_cents)
  FROM hour_sales
  WHERE period = 'day' AND store = a_store AND period_start = a_day
  GROUP BY channel;

  DELETE FROM hour_sales WHERE period = 'month' AND store = a_store AND period_start = a_month;
  INSERT INTO hour_sales (
    period, store, period_start, channel, hour, sale_count, return_count, void_count,
    line_count, units_sold, units_returned, sold_cents, returned_cents, tax_cents
  )
  SELECT
    'month', a_store, a_month, channel, hour, sum(sale_count), sum(return_count), sum(void_count),
    sum(line_count), sum(units_sold), sum(units_returned), sum(sold_cents), sum(returned_cents), sum(tax_cents)
  FROM hour_sales
  WHERE period = 'day' AND store = a_store AND period_start BETWEEN a_month AND last_day
  GROUP BY channel, hour;

  DELETE FROM category_sales WHERE period = 'month' AND store = a_store AND period_start = a_month;
  INSERT INTO category_sales (
    period, store, period_start, channel, category,
    line_count, units_sold, units_returned, sold_cents, returned_cents, tax_cents
  )
  SELECT
    'month', a_store, a_month, channel, category,
    sum(line_count), sum(units_sold), sum(units_returned), sum(sold_cents), sum(returned_cents), sum(tax_cents)
  FROM category_sales
  WHERE period = 'day' AND store = a_store AND period_start BETWEEN a_month AND last_day
  GROUP BY channel, category;
END $$;
COMMENT ON FUNCTION reports.sum_above IS 'Sums what is made of a store''s hours and categories: its day, and their month.';

CREATE FUNCTION reports.sum_day(a_store text, a_day date) RETURNS void
LANGUAGE plpgsql
SET search_path = reports, pg_temp
AS $$
BEGIN
  PERFORM sum_hours(a_store, a_day);
  PERFORM sum_products(a_store, a_day);
  PERFORM sum_categories(a_store, a_day);
  PERFORM sum_above(a_store, a_day);
END $$;
COMMENT ON FUNCTION reports.sum_day IS 'Brings all facts that a store''s day is part of into line with its documents.';

CREATE FUNCTION reports.sum_month(a_month date) RETURNS void
LANGUAGE plpgsql
SET search_path = reports, pg_temp
AS $$
DECLARE
  last_day CONSTANT date := a_month + interval '1 month' - interval '1 day';
BEGIN
  DELETE FROM hour_sales WHERE period = 'month' AND period_start = a_month;
  INSERT INTO hour_sales (
    period, store, period_start, channel, hour, sale_count, return_count, void_count,
    line_count, units_sold, units_returned, sold_cents, returned_cents, tax_cents
  )
  SELECT
    'month', store, a_month, channel, hour, sum(sale_count), sum(return_count), sum(void_count),
    sum(line_count), sum(units_sold), sum(units_returned), sum(sold_cents), sum(returned_cents), sum(tax_cents)
  FROM hour_sales
  WHERE period = 'day' AND period_start BETWEEN a_month AND last_day
  GROUP BY store, channel, hour;

  DELETE FROM category_sales WHERE period = 'month' AND period_start = a_month;
  INSERT INTO category_sales (
    period, store, period_start, channel, category,
    line_count, units_sold, units_returned, sold_cents, returned_cents, tax_cents
  )
  SELECT
    'month', store, a_month, channel, category,
    sum(line_count), sum(units_sold), sum(units_returned), sum(sold_cents), sum(returned_cents), sum(tax_cents)
  FROM category_sales
  WHERE period = 'day' AND period_start BETWEEN a_month AND last_day
  GROUP BY store, channel, category;

  WITH part AS (
    SELECT
      level.period, level.store, level.period_start, fact.channel, fact.product_key,
      line_count, units_sold, units_returned, sold_cents, returned_cents, tax_cents
    FROM product_sales AS fact
    CROSS JOIN LATERAL (
      VALUES ('day', '*', fact.period_start), ('month', fact.store, a_month), ('month', '*', a_month)
    ) AS level (period, store, period_start)
    WHERE fact.period = 'day' AND fact.store <> '*' AND fact.period_start BETWEEN a_month AND last_day
    UNION ALL
    SELECT
      period, store, period_start, channel, product_key,
      -line_count, -units_sold, -units_returned, -sold_cents, -returned_cents, -tax_cents
    FROM product_sales
    WHERE (period = 'month' OR store = '*') AND period_start BETWEEN a_month AND last_day
  ), difference AS (
    SELECT
      period, store, period_start, channel, product_key, sum(line_count) AS line_count, sum(units_sold) AS units_sold,
      sum(units_returned) AS units_returned, sum(sold_cents) AS sold_cents,
      sum(returned_cents) AS returned_cents, sum(tax_cents) AS tax_cents
    FROM part
    GROUP BY period, store, period_start, channel, product_key
    HAVING (sum(line_count), sum(units_sold), sum(units_returned), sum(sold_cents), sum(returned_cents), sum(tax_cents))
        <> (0, 0, 0, 0, 0, 0)
  )
  INSERT INTO product_sales AS fact (
    period, store, period_start, channel, product_key,
    line_count, units_sold, units_returned, sold_cents, returned_cents, tax_cents
  )
  SELECT
    period, store, period_start, channel, product_key,
    line_count, units_sold, units_returned, sold_cents, returned_cents, tax_cents
  FROM difference
  ON CONFLICT ON CONSTRAINT product_sales_pkey DO UPDATE
  SET line_count = fact.line_count + excluded.line_count,
      units_sold = fact.units_sold + excluded.units_sold,
      units_returned = fact.units_returned + excluded.units_returned,
      sold_cents = fact.sold_cents + excluded.sold_cents,
      returned_cents = fact.returned_cents + excluded.returned_cents,
      tax_cents = fact.tax_cents + excluded.tax_cents;

  DELETE FROM product_sales
  WHERE period_start BETWEEN a_month AND last_day AND line_count = 0;
END $$;
COMMENT ON FUNCTION reports.sum_month IS
  'Brings the month, and the days of the chain in it, into line with the stores'' days, whatever was there.';

-- Which changes are new: a document carries the transaction that changed it last, and every transaction below the
-- oldest one that was running at a scan had ended by then. So the next scan starts at that one. What is seen twice is
-- summed twice, to the same sums; what commits late has not been passed.
CREATE FUNCTION reports.scan_changes() RETURNS void
LANGUAGE plpgsql
SET search_path = reports, pg_temp
AS $$
DECLARE
  seen CONSTANT pg_snapshot := pg_current_snapshot();
  since xid8;
BEGIN
  SELECT scanned_xid INTO since FROM progress;
  -- Ahead of the server's own counter: this is a copy of the data in another server. All of it is new here.
  IF since > pg_snapshot_xmax(seen) THEN
    since := '0';
  END IF;

  INSERT INTO stale_days (store, business_date, changed)
  SELECT DISTINCT store, business_date, true
  FROM sales.report_documents
  WHERE changed_xid >= since
  ON CONFLICT ON CONSTRAINT stale_days_pkey DO UPDATE SET changed = true;

  -- The transaction began before it took its snapshot, so whatever was committed before that moment has been seen.
  UPDATE progress
  SET scanned_xid = pg_snapshot_xmin(seen),
      scanned_at = transaction_timestamp();
END $$;
COMMENT ON FUNCTION reports.scan_changes IS 'Notes the days in which documents changed since the scan before.';

CREATE FUNCTION reports.refresh(budget_ms integer, OUT refreshed integer, OUT more boolean)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = reports, pg_temp
-- Plans that were made while the tables were small are kept by the session; each of these steps has its index.
SET enable_seqscan = off
AS $$
DECLARE
  until CONSTANT timestamptz := clock_timestamp() + budget_ms * interval '1 millisecond';
  stale_month date;
  stale record;
BEGIN
  IF current_setting('transaction_isolation') <> 'repeatable read' THEN
    RAISE EXCEPTION 'refresh needs one snapshot: a REPEATABLE READ transaction'
    USING ERRCODE = 'invalid_transaction_state';
  END IF;
  refreshed := 0;
  more := false;
  -- One at a time; who comes second leaves it to the first.
  PERFORM FROM progress FOR UPDATE SKIP LOCKED;
  IF NOT FOUND THEN
    RETURN;
  END IF;
  IF NOT EXISTS (SELECT FROM stale_days WHERE changed) THEN
    PERFORM scan_changes();
  END IF;

  LOOP
    DELETE FROM stale_days
    WHERE (store, business_date) = (
      SELECT store, business_date FROM stale_days ORDER BY changed DESC, business_date DESC, store LIMIT 1
    )
    RETURNING store, business_date INTO stale;
    IF FOUND THEN
      PERFORM sum_day(stale.store, stale.business_date);
      refreshed := refreshed + 1;
    ELSE
      DELETE FROM stale_months
      WHERE month = (SELECT min(month) FROM stale_months)
      RETURNING month INTO stale_month;
      EXIT WHEN NOT FOUND;
      PERFORM sum_month(stale_month);
    END IF;
    more := clock_timestamp() >= until;
    EXIT WHEN more;
  END LOOP;

  -- A rebuild keeps nothing from being up to date: what it has not come to yet says what it said.
  UPDATE progress
  SET as_of = scanned_at
  WHERE NOT EXISTS (SELECT FROM stale_days WHERE changed);
END $$;
COMMENT ON FUNCTION reports.refresh IS
  'Brings facts up to date with what was committed, for about budget_ms; more: call again.';

CREATE FUNCTION reports.rebuild() RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = reports, pg_temp
AS $$
DECLARE
  days integer;
BEGIN
  INSERT INTO stale_days (store, business_date, changed)
  SELECT store, business_date, false FROM sales.report_documents
  UNION SELECT store, business_date, false FROM day_sales
  UNION SELECT store, period_start, false FROM hour_sales WHERE period = 'day'
  UNION SELECT store, period_start, false FROM category_sales WHERE period = 'day'
  UNION SELECT store, period_start, false FROM product_sales WHERE period = 'day' AND store <> '*'
  ON CONFLICT DO NOTHING;
  INSERT INTO stale_months (month)
  SELECT date_trunc('month', business_date) FROM stale_days
  UNION SELECT date_trunc('month', period_start) FROM hour_sales
  UNION SELECT date_trunc('month', period_start) FROM category_sales
  UNION SELECT date_trunc('month', period_start) FROM product_sales
  ON CONFLICT DO NOTHING;
  SELECT count(*) INTO days FROM stale_days;
  RETURN days;
END $$;
COMMENT ON FUNCTION reports.rebuild IS
  'Has all facts summed anew by the refreshes to come, whatever is in them: each store''s day from its documents, '
  'then what is above them. Returns the number of days.';

GRANT SELECT ON
  reports.progress, reports.stale_days, reports.stale_months, reports.products,
  reports.day_sales, reports.hour_sales, reports.category_sales, reports.product_sales,
  reports.product_days, reports.product_days_of_chain, reports.product_days_of_stores,
  reports.product_months, reports.product_months_of_chain, reports.product_months_of_stores
TO reports;
GRANT EXECUTE ON FUNCTION reports.refresh, reports.rebuild, reports.total TO reports;

RESET ROLE;

-- migrate:down

DROP FUNCTION reports.rebuild;
DROP FUNCTION reports.refresh;
DROP FUNCTION reports.scan_changes;
DROP FUNCTION reports.sum_month;
DROP FUNCTION reports.sum_day;
DROP FUNCTION reports.sum_above;
DROP FUNCTION reports.sum_products;
DROP FUNCTION reports.sum_categories;
DROP FUNCTION reports.sum_hours;
DROP AGGREGATE reports.total(bigint);
DROP TABLE reports.product_sales;
DROP TABLE reports.category_sales;
DROP TABLE reports.hour_sales;
DROP TABLE reports.day_sales;
DROP TABLE reports.products;
DROP TABLE reports.stale_months;
DROP TABLE reports.stale_days;
DROP TABLE reports.progress;
DROP VIEW products.report_products;
REVOKE USAGE ON SCHEMA products FROM reports;
DROP VIEW inventory.report_requests;
DROP VIEW inventory.report_stock;
DROP VIEW inventory.report_locations;
REVOKE USAGE ON SCHEMA inventory FROM reports, reports_owner;
DROP VIEW sales.report_lines;
DROP VIEW sales.report_documents;
REVOKE USAGE ON SCHEMA sales FROM reports_owner;
CALL public.drop_function_home('reports');
