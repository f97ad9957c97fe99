-- Released before it was ever made.
INSERT INTO inventory.reservations (reservation_id, state, location, expires_at, settled_at)
VALUES ('c0000000-0000-4000-8000-000000000006', 'released', NULL, now(), now());
