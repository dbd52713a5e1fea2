-- What a server is and how far it has come, for readers that have a replica beside the primary. The log's position is
-- where a primary writes, and up to where a replica has replayed. A replica tells the timeline that it receives, and
-- NULL while nobody sends it anything, or when the owner may not see that (it needs pg_read_all_stats): positions of
-- two timelines cannot be compared. What readers keep they stamp with the epoch and the oldest transaction that is still
-- under way: that one, and all with a higher number, may not be seen yet. `next_xid` is the number that no transaction
-- has been given yet, and that all will exceed or have which are given theirs after `clock`.
CREATE FUNCTION catalog.server_state(
    OUT system bigint, OUT database bigint, OUT is_replica boolean, OUT timeline bigint, OUT lsn bigint, OUT received bigint,
    OUT epoch text, OUT xmin bigint, OUT next_xid bigint, OUT clock timestamptz
)
LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT (SELECT system_identifier FROM pg_control_system()),
           (SELECT d.oid::bigint FROM pg_database d WHERE d.datname = current_database()),
           s.is_replica,
           CASE WHEN s.is_replica THEN (SELECT r.received_tli::bigint FROM pg_stat_get_wal_receiver() r)
                ELSE ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::bigint END,
           CASE WHEN s.is_replica THEN (coalesce(pg_last_wal_replay_lsn(), '0/0') - '0/0')::bigint
                ELSE (pg_current_wal_insert_lsn() - '0/0')::bigint END,
           CASE WHEN s.is_replica THEN (pg_last_wal_receive_lsn() - '0/0')::bigint END,
           catalog.epoch(), pg_snapshot_xmin(s.seen)::text::bigint,
           pg_snapshot_xmax(s.seen)::text::bigint + age(pg_snapshot_xmax(s.seen)::xid), statement_timestamp()
    FROM (SELECT pg_is_in_recovery() AS is_replica, pg_current_snapshot() AS seen) s
$$;
REVOKE EXECUTE ON FUNCTION catalog.server_state FROM PUBLIC;
GRANT EXECUTE ON FUNCTION catalog.server_state TO tidemark_query;
