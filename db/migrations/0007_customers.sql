-- Accounts of customers and staff: registering, signing in, addresses. Signs the tokens that every function verifies.

-- migrate:up

CALL public.create_function_home('customers');

-- migrate:down

CALL public.drop_function_home('customers');
