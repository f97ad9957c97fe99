-- The layout every function relies on: a schema, an owner and a login role of its own, and nothing shared.
-- Roles belong to the whole server, so they are made only where missing and dropped only where unused;
-- passwords are set by whoever runs the platform, never here.

-- migrate:up

REVOKE ALL ON SCHEMA public FROM PUBLIC;

DO $$
BEGIN
  EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
END $$;

CREATE SCHEMA extensions;
CREATE EXTENSION unaccent SCHEMA extensions;
CREATE EXTENSION pg_trgm SCHEMA extensions;

CREATE PROCEDURE public.create_function_home(function_name text)
LANGUAGE plpgsql
AS $$
DECLARE
  owner_name CONSTANT text := function_name || '_owner';
BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = owner_name) THEN
    EXECUTE format('CREATE ROLE %I NOLOGIN', owner_name);
  END IF;
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = function_name) THEN
    EXECUTE format('CREATE ROLE %I LOGIN', function_name);
  END IF;
  EXECUTE format('CREATE SCHEMA %I AUTHORIZATION %I', function_name, owner_name);
  EXECUTE format('ALTER DEFAULT PRIVILEGES FOR ROLE %I REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC', owner_name);
  EXECUTE format('GRANT USAGE ON SCHEMA %I TO %I', function_name, function_name);
  EXECUTE format('GRANT USAGE ON SCHEMA extensions TO %I, %I', function_name, owner_name);
  EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), function_name);
  -- Readiness compares the migrations a function was built with to those that were applied.
  EXECUTE format('GRANT USAGE ON SCHEMA public TO %I', function_name);
  EXECUTE format('GRANT SELECT ON public.schema_migrations TO %I', function_name);
  EXECUTE format('ALTER ROLE %I SET search_path = %I, extensions', function_name, function_name);
  -- A replica that vanished inside a transaction must not hold its locks longer than a request may last.
  EXECUTE format('ALTER ROLE %I SET idle_in_transaction_session_timeout = %L', function_name, '10s');
END $$;
COMMENT ON PROCEDURE public.create_function_home IS
  'Makes the schema, the owner role and the login role of one function; the first statement of its first migration.';

-- The schema must be empty: the migrations that filled it have been taken back before.
CREATE PROCEDURE public.drop_function_home(function_name text)
LANGUAGE plpgsql
AS $$
DECLARE
  owner_name CONSTANT text := function_name || '_owner';
  role_name text;
BEGIN
  EXECUTE format('DROP SCHEMA %I RESTRICT', function_name);
  EXECUTE format('REVOKE SELECT ON public.schema_migrations FROM %I', function_name);
  EXECUTE format('REVOKE USAGE ON SCHEMA public FROM %I', function_name);
  EXECUTE format('REVOKE CONNECT ON DATABASE %I FROM %I', current_database(), function_name);
  EXECUTE format('REVOKE USAGE ON SCHEMA extensions FROM %I, %I', function_name, owner_name);
  EXECUTE format('ALTER DEFAULT PRIVILEGES FOR ROLE %I GRANT EXECUTE ON FUNCTIONS TO PUBLIC', owner_name);
  FOREACH role_name IN ARRAY ARRAY[function_name, owner_name] LOOP
    BEGIN
      EXECUTE format('DROP ROLE %I', role_name);
    EXCEPTION WHEN dependent_objects_still_exist THEN
      RAISE NOTICE 'role % stays: another database of this server uses it', role_name;
    END;
  END LOOP;
END $$;
COMMENT ON PROCEDURE public.drop_function_home IS
  'Takes back create_function_home; a role that another database still uses stays.';

REVOKE ALL ON PROCEDURE public.create_function_home, public.drop_function_home FROM PUBLIC;

CALL public.create_function_home('products');
CALL public.create_function_home('cart');

-- migrate:down

CALL public.drop_function_home('cart');
CALL public.drop_function_home('products');

DROP PROCEDURE public.drop_function_home;
DROP PROCEDURE public.create_function_home;

DROP EXTENSION pg_trgm;
DROP EXTENSION unaccent;
DROP SCHEMA extensions;

DO $$
BEGIN
  EXECUTE format('GRANT CONNECT, TEMPORARY ON DATABASE %I TO PUBLIC', current_database());
END $$;

GRANT USAGE ON SCHEMA public TO PUBLIC;
