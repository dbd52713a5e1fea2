-- The role that Grafana logs in with: it reads what query reads, changes nothing, and no panel runs for longer than half a
-- minute. Like the services' roles it belongs to the server, and has no password until somebody sets one. An owner that may
-- make no roles goes without it: Grafana is a guest, and a superuser can make it later.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'grafana_reader') THEN
        BEGIN
            CREATE ROLE grafana_reader LOGIN IN ROLE tidemark_query;
            ALTER ROLE grafana_reader SET search_path = metrics, public;
            ALTER ROLE grafana_reader SET statement_timeout = '30s';
            ALTER ROLE grafana_reader SET default_transaction_read_only = on;
        EXCEPTION
            WHEN duplicate_object OR unique_violation THEN
                NULL; -- made by another database's migration
            WHEN insufficient_privilege THEN
                RAISE WARNING 'the role grafana_reader was not made: %', SQLERRM;
        END;
    END IF;
END
$$;
