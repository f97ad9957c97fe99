-- Stands in for the payment provider: a company of its own with its own ledger. Has no public route.

-- migrate:up

CALL public.create_function_home('payments');

-- migrate:down

CALL public.drop_function_home('payments');
