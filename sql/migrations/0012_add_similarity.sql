-- Lists are searched by a part of a name, and where no name has it, by likeness (pg_trgm). It is worth having and not
-- needed: where the server has not got the extension, or this role may not create it, lists are searched by parts only,
-- and query says so. Whoever may can create it later; query looks for it again and again.
DO $$
BEGIN
    CREATE EXTENSION IF NOT EXISTS pg_trgm;
EXCEPTION WHEN insufficient_privilege OR undefined_file OR feature_not_supported THEN
    RAISE WARNING 'the extension pg_trgm is not there (%): names are searched by parts only, and a typo finds nothing; a superuser can run CREATE EXTENSION pg_trgm', SQLERRM;
END
$$;
