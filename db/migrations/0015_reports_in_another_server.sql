-- A copy of the data in another server is summed once. Its documents carry numbers of transactions that this server may give
-- out much later; they used to look new at every refresh until it had, and the days they are in were summed each time.

-- migrate:up

SET LOCAL ROLE reports_owner;

ALTER TABLE reports.progress ADD COLUMN server bigint;
COMMENT ON COLUMN reports.progress.server IS
  'Whose transactions scanned_xid is one of: the system identifier of the server of the scan before.';

CREATE OR REPLACE FUNCTION reports.scan_changes() RETURNS void
LANGUAGE plpgsql
SET search_path = reports, pg_temp
AS $$
DECLARE
  seen CONSTANT pg_snapshot := pg_current_snapshot();
  here CONSTANT bigint := (SELECT system_identifier FROM pg_control_system());
  since xid8;
  until xid8 := pg_snapshot_xmax(seen);
BEGIN
  SELECT scanned_xid INTO since FROM progress WHERE server = here AND scanned_xid <= until;
  -- Scanned last in another server: this is a copy of the data, and its numbers say nothing here. All of it is new.
  IF NOT FOUND THEN
    since := '0';
    until := '18446744073709551615';
  END IF;

  INSERT INTO stale_days (store, business_date, changed)
  SELECT DISTINCT store, business_date, true
  FROM reports.documents
  WHERE changed_xid >= since AND changed_xid < until
  ON CONFLICT ON CONSTRAINT stale_days_pkey DO UPDATE SET changed = true;

  -- The transaction began before it took its snapshot, so whatever was committed before that moment has been seen.
  UPDATE progress
  SET scanned_xid = pg_snapshot_xmin(seen),
      scanned_at = transaction_timestamp(),
      server = here;
END $$;

RESET ROLE;

-- migrate:down

SET LOCAL ROLE reports_owner;

CREATE OR REPLACE FUNCTION reports.scan_changes() RETURNS void
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
  FROM reports.documents
  WHERE changed_xid >= since
  ON CONFLICT ON CONSTRAINT stale_days_pkey DO UPDATE SET changed = true;

  -- The transaction began before it took its snapshot, so whatever was committed before that moment has been seen.
  UPDATE progress
  SET scanned_xid = pg_snapshot_xmin(seen),
      scanned_at = transaction_timestamp();
END $$;

ALTER TABLE reports.progress DROP COLUMN server;

RESET ROLE;
