-- What the provider knows of the five requests to buy, as its triggers write it into the ledger.
INSERT INTO payments.authorisations (reference, state, amount_cents, currency, card_token, decline_code)
VALUES
  ('c0000000-0000-4000-8000-000000000001', 'authorised', 2587, 'CAD', 'tok_ok', NULL),
  ('c0000000-0000-4000-8000-000000000002', 'authorised', 3449, 'CAD', 'tok_ok', NULL),
  ('c0000000-0000-4000-8000-000000000003', 'declined', 1150, 'CAD', 'tok_declined', 'do_not_honour'),
  ('c0000000-0000-4000-8000-000000000004', 'authorised', 575, 'CAD', 'tok_ok', NULL);
INSERT INTO payments.authorisations (reference, state, amount_cents, void_reason)
VALUES ('c0000000-0000-4000-8000-000000000005', 'voided', 0, 'requested');

UPDATE payments.authorisations
SET state = 'captured'
WHERE reference IN ('c0000000-0000-4000-8000-000000000001', 'c0000000-0000-4000-8000-000000000004');

INSERT INTO payments.refunds (reference, refund_reference, amount_cents, reason)
VALUES
  ('c0000000-0000-4000-8000-000000000001', '0e000000-0000-4000-8000-000000000001', 1149, 'did not fit'),
  ('c0000000-0000-4000-8000-000000000004', '0d000000-0000-4000-8000-000000000004:cancel', 575, '');

INSERT INTO payments.attempts (reference, attempts)
VALUES ('c0000000-0000-4000-8000-000000000002', 2);
