-- The roles of a fleet, for a database that is codex_auth's own. Run it as an administrator, once:
--   psql "$ADMIN_URL" -v ON_ERROR_STOP=1 -f roles.sql
-- then give each role a password that nobody has to type (\password codex_auth_owner in psql), and create the tables:
--   CODEX_AUTH_STORE="$ADMIN_URL" codex-auth-watchdog store init --owner-role codex_auth_owner --follower-role codex_auth_follower

-- Whoever refreshes: reads and writes the login, and the record of requests. No rights on tables of its own.
create role codex_auth_owner login noinherit nosuperuser nocreatedb nocreaterole connection limit 50;

-- Whoever only reads: sees neither the sealed refresh token nor its fingerprint, whatever key it holds.
create role codex_auth_follower login noinherit nosuperuser nocreatedb nocreaterole connection limit 2000;

-- A follower that hangs must not hold anything up, and a request that is noted must be on the disk before it leaves. The
-- tables see to the second by themselves; this says it to whoever looks at the roles.
alter role codex_auth_owner set synchronous_commit = on;
alter role codex_auth_follower set default_transaction_read_only = on;
alter role codex_auth_follower set statement_timeout = '15s';
