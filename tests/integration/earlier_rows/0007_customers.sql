-- A customer who is signed in, somebody who works here, and one who is to be forgotten.
-- The password of each is "a long walk by the sea", hashed with less work than today's settings ask for.
INSERT INTO customers.accounts (customer_id, role, store, email, email_key, name, phone, language, password_hash)
VALUES
  (
    'ada00000-0000-4000-8000-000000000001', 'customer', NULL, 'Ada@Example.com', 'ada@example.com', 'Ada Lovelace',
    '+1 514 555 0100', 'fr',
    '$argon2id$v=19$m=8192,t=2,p=1$R0W5agO0xLya5HFvaoEo3g$boIr2111FGrnYNXpfwai6UaP1mCHZxn/qNwpuwHPkYU'
  ),
  (
    'ada00000-0000-4000-8000-000000000002', 'staff', 'S1', 'sam@example.com', 'sam@example.com', 'Sam', NULL, NULL,
    '$argon2id$v=19$m=8192,t=2,p=1$R0W5agO0xLya5HFvaoEo3g$boIr2111FGrnYNXpfwai6UaP1mCHZxn/qNwpuwHPkYU'
  );

INSERT INTO customers.accounts (customer_id, role, erased_at)
VALUES ('ada00000-0000-4000-8000-000000000003', 'customer', now());

INSERT INTO customers.addresses (customer_id, name, line1, city, province, postal_code, country, is_default)
VALUES
  ('ada00000-0000-4000-8000-000000000001', 'Ada', '12 rue des Érables', 'Montréal', 'QC', 'H2X 1Y4', 'CA', true),
  ('ada00000-0000-4000-8000-000000000001', 'Ada', '1 King St', 'Toronto', 'ON', 'M5H 1A1', 'CA', false);

INSERT INTO customers.sessions (session_id, customer_id, origin_sha256, expires_at, ended_at, ended_by)
VALUES
  (
    '5e550000-0000-4000-8000-000000000001', 'ada00000-0000-4000-8000-000000000001', sha256('home'),
    now() + interval '90 days', NULL, NULL
  ),
  (
    '5e550000-0000-4000-8000-000000000002', 'ada00000-0000-4000-8000-000000000001', sha256('work'),
    now() + interval '90 days', now(), 'sign_out'
  );

INSERT INTO customers.refresh_tokens (token_sha256, session_id, expires_at, used_at, successor_salt)
VALUES
  (sha256('first'), '5e550000-0000-4000-8000-000000000001', now() + interval '30 days', now(), sha256('salt')),
  (sha256('second'), '5e550000-0000-4000-8000-000000000001', now() + interval '30 days', NULL, NULL);

INSERT INTO customers.guesses (kind, slot, full_at)
VALUES ('account', 7, now() + interval '1 minute');

INSERT INTO customers.erasures (customer_id)
VALUES ('ada00000-0000-4000-8000-000000000003');
