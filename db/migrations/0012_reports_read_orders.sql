-- Reports read what the web shop sells beside what the stores do: documents and lines are those of sales and of orders.
-- The functions that sum them are the same but for where they read, so they are not written out again.

-- migrate:up

SET LOCAL ROLE orders_owner;
GRANT USAGE ON SCHEMA orders TO reports_owner;
GRANT SELECT ON orders.report_documents, orders.report_lines TO reports_owner;

SET LOCAL ROLE reports_owner;

CREATE VIEW reports.documents AS
SELECT document_id, kind, store, channel, business_date, occurred_at, counts, subtotal_cents, tax_cents, changed_xid
FROM sales.report_documents
UNION ALL
SELECT document_id, kind, store, channel, business_date, occurred_at, counts, subtotal_cents, tax_cents, changed_xid
FROM orders.report_documents;
COMMENT ON VIEW reports.documents IS 'One row is a sale or a return, of a store or of the web shop. Amounts of returns are positive.';

CREATE VIEW reports.lines AS
SELECT kind, store, channel, business_date, occurred_at, sku, name, category, charge, quantity, total_cents, tax_cents
FROM sales.report_lines
UNION ALL
SELECT kind, store, channel, business_date, occurred_at, sku, name, category, charge, quantity, total_cents, tax_cents
FROM orders.report_lines;
COMMENT ON VIEW reports.lines IS 'One row is a line of a document that counts. Amounts of returns are positive.';

DO $$
DECLARE
  reader regprocedure;
  present text;
  changed text;
BEGIN
  FOREACH reader IN ARRAY ARRAY[
    'reports.sum_hours(text, date)', 'reports.sum_products(text, date)', 'reports.scan_changes()', 'reports.rebuild()'
  ]::regprocedure[] LOOP
    present := pg_get_functiondef(reader);
    changed := replace(replace(present, 'sales.report_documents', 'reports.documents'), 'sales.report_lines', 'reports.lines');
    IF changed = present THEN
      RAISE EXCEPTION '% does not read sales', reader;
    END IF;
    EXECUTE changed;
  END LOOP;
END $$;

-- With twice as many branches, planning a step for each day anew would take longer than the step.
ALTER FUNCTION reports.refresh SET plan_cache_mode = force_generic_plan;

RESET ROLE;

-- migrate:down

SET LOCAL ROLE reports_owner;

ALTER FUNCTION reports.refresh RESET plan_cache_mode;

DO $$
DECLARE
  reader regprocedure;
BEGIN
  FOREACH reader IN ARRAY ARRAY[
    'reports.sum_hours(text, date)', 'reports.sum_products(text, date)', 'reports.scan_changes()', 'reports.rebuild()'
  ]::regprocedure[] LOOP
    EXECUTE replace(
      replace(pg_get_functiondef(reader), 'reports.documents', 'sales.report_documents'),
      'reports.lines', 'sales.report_lines'
    );
  END LOOP;
END $$;

DROP VIEW reports.lines;
DROP VIEW reports.documents;

SET LOCAL ROLE orders_owner;
REVOKE SELECT ON orders.report_documents, orders.report_lines FROM reports_owner;
REVOKE USAGE ON SCHEMA orders FROM reports_owner;
RESET ROLE;
