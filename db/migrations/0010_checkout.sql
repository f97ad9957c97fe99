-- Turns a cart into a paid order, step by step; each step survives a crash.

-- migrate:up

CALL public.create_function_home('checkout');

-- migrate:down

CALL public.drop_function_home('checkout');
