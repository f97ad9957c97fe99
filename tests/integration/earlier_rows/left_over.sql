-- What a rebuild of the reports has not come to yet.
INSERT INTO reports.stale_days (store, business_date, changed)
VALUES ('S2', '2026-01-05', false)
ON CONFLICT DO NOTHING;
INSERT INTO reports.stale_months (month)
VALUES ('2026-01-01')
ON CONFLICT DO NOTHING;
