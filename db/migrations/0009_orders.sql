-- Orders of the web shop from payment to delivery, cancelling and returns.

-- migrate:up

CALL public.create_function_home('orders');

-- migrate:down

CALL public.drop_function_home('orders');
