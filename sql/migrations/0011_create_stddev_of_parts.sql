-- A standard deviation in two steps: the points of each series become moments (how many, their sum, the sum of squares
-- about their mean), which are merged without loss. This is what PostgreSQL does itself when it aggregates in parallel.
CREATE AGGREGATE catalog.moments(double precision) (
    SFUNC = pg_catalog.float8_accum, STYPE = double precision[], INITCOND = '{0,0,0}',
    COMBINEFUNC = pg_catalog.float8_combine, PARALLEL = SAFE
);
CREATE AGGREGATE catalog.stddev_of_moments(double precision[]) (
    SFUNC = pg_catalog.float8_combine, STYPE = double precision[], INITCOND = '{0,0,0}',
    FINALFUNC = pg_catalog.float8_stddev_samp, COMBINEFUNC = pg_catalog.float8_combine, PARALLEL = SAFE
);
REVOKE EXECUTE ON FUNCTION catalog.moments, catalog.stddev_of_moments FROM PUBLIC;
GRANT EXECUTE ON FUNCTION catalog.moments, catalog.stddev_of_moments TO tidemark_query;
