-- Reservations under an id of the caller's: what is released before it was ever made can never be made.
-- That settles a call whose answer was lost, without waiting for the reservation's time to pass.

-- migrate:up

ALTER TABLE inventory.reservations ALTER COLUMN location DROP NOT NULL;
ALTER TABLE inventory.reservations ADD CONSTRAINT reservations_location_check
  CHECK (location IS NOT NULL OR state = 'released');
COMMENT ON CONSTRAINT reservations_location_check ON inventory.reservations IS
  'Only a tombstone, released without having promised anything, is nowhere.';

-- migrate:down

ALTER TABLE inventory.reservations DROP CONSTRAINT reservations_location_check;
DELETE FROM inventory.reservations WHERE location IS NULL;
ALTER TABLE inventory.reservations ALTER COLUMN location SET NOT NULL;
