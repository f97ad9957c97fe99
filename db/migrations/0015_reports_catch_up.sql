-- Orders that were paid before reports read orders are in the reports, too: changes are looked for from the last scan on,
-- and those lay before it. A day that is summed once more says the same.

-- migrate:up

INSERT INTO reports.stale_days (store, business_date, changed)
SELECT DISTINCT store, business_date, true
FROM orders.report_documents
ON CONFLICT ON CONSTRAINT stale_days_pkey DO UPDATE SET changed = true;

-- migrate:down

-- Nothing is left to take back: what is summed is right with and without it.
SELECT;
