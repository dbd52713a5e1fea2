-- Roles belong to the server, not to the database: they may be there already, and another database's
-- migration may be making them at this moment. They have no password until somebody sets one, so that
-- nobody can log in with them by accident; the services may also take them on with SET ROLE.
DO $$
DECLARE
    wanted text;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['tidemark_ingest', 'tidemark_query'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I LOGIN', wanted);
                IF current_setting('is_superuser') = 'off' THEN
                    EXECUTE format('GRANT %I TO CURRENT_USER', wanted);
                END IF;
            EXCEPTION WHEN duplicate_object OR unique_violation THEN
                NULL; -- made by the other migration
            END;
        END IF;
        -- public is where TimescaleDB's functions are: time_bucket must be found by name.
        IF (SELECT rolconfig IS NULL FROM pg_roles WHERE rolname = wanted) THEN
            EXECUTE format('ALTER ROLE %I SET search_path = metrics, public', wanted);
        END IF;
    END LOOP;
    EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO tidemark_ingest', current_database());
END
$$;

-- ingest writes rows and calls the functions of 0003; it reads the rows it merges with, and nothing else.
GRANT USAGE ON SCHEMA catalog, points TO tidemark_ingest;
ALTER DEFAULT PRIVILEGES IN SCHEMA points GRANT SELECT, INSERT, UPDATE ON TABLES TO tidemark_ingest;

-- query reads everything and changes nothing.
GRANT USAGE ON SCHEMA catalog, points, metrics TO tidemark_query;
GRANT SELECT ON ALL TABLES IN SCHEMA catalog TO tidemark_query;
ALTER DEFAULT PRIVILEGES IN SCHEMA catalog GRANT SELECT ON TABLES TO tidemark_query;
ALTER DEFAULT PRIVILEGES IN SCHEMA points GRANT SELECT ON TABLES TO tidemark_query;
ALTER DEFAULT PRIVILEGES IN SCHEMA metrics GRANT SELECT ON TABLES TO tidemark_query;
