/** The release's own number of the schema: the last of its migrations. */
export const SCHEMA_VERSION = 1;

/**
 * The tables of a fleet, step by step. What is released here never changes: a new need is a new step.
 *
 * `credential` has one row a login. `spend` has one row a request that presents a refresh token: its primary key is what
 * lets only one be made. `owner` has who looks after a login, and when they were last seen.
 */
const MIGRATIONS: readonly string[] = [
  `create table codex_auth.credential (
  id text primary key,
  version bigint not null check (version > 0),
  refresh_fp text not null check (refresh_fp ~ '^[0-9a-f]{64}$'),
  account_ids text not null,
  sealed_owner text not null,
  sealed_follower text not null,
  expires_at timestamptz,
  last_refresh timestamptz,
  updated_at timestamptz not null default clock_timestamp(),
  updated_by text not null
);
-- One token under two names would have owners who know nothing of each other's requests.
create unique index credential_token on codex_auth.credential (refresh_fp);
create table codex_auth.spend (
  credential text not null,
  refresh_fp text not null check (refresh_fp ~ '^[0-9a-f]{64}$'),
  attempt integer not null check (attempt > 0),
  prepared text not null,
  started_at timestamptz not null default clock_timestamp(),
  dispatched_at timestamptz,
  verdict text,
  ended_at timestamptz,
  primary key (credential, refresh_fp, attempt)
);
create index spend_unended on codex_auth.spend (credential) where ended_at is null;
create table codex_auth.owner (
  credential text not null,
  name text not null,
  host text not null,
  seen_at timestamptz not null,
  primary key (credential, name)
);
create function codex_auth.tell() returns trigger language plpgsql as $$
begin
  perform pg_notify('codex_auth', new.id || ' ' || new.version);
  return null;
end $$;
create function codex_auth.be_durable() returns trigger language plpgsql as $$
begin
  -- A server that is set not to wait for its disk may forget a request that was noted, or a login that was saved.
  if current_setting('synchronous_commit') = 'off' then perform set_config('synchronous_commit', 'on', true); end if;
  return null;
end $$;
create trigger be_durable before insert or update or delete on codex_auth.credential
  for each statement execute function codex_auth.be_durable();
create trigger be_durable before insert or update or delete on codex_auth.spend
  for each statement execute function codex_auth.be_durable();
create trigger tell after insert or update of version on codex_auth.credential
  for each row execute function codex_auth.tell();
revoke all on function codex_auth.tell(), codex_auth.be_durable() from public;`,
];

/**
 * Creates what is missing, step by step, and can be run again and again: those who begin at once do it one after the other.
 * As one text it is one transaction.
 */
export function migrationSql(): string {
  const steps = MIGRATIONS.map((sql, index) => {
    const number = index + 1;
    return `if not exists (select from codex_auth.migration where number = ${number}) then
${sql}
insert into codex_auth.migration (number) values (${number});
end if;`;
  });
  return `do $migrate$ begin
perform pg_advisory_xact_lock(hashtext('codex_auth'));
create schema if not exists codex_auth;
create table if not exists codex_auth.migration (
  number integer primary key,
  applied_at timestamptz not null default clock_timestamp()
);
${steps.join("\n")}
end $migrate$;`;
}

/** What the database roles of a fleet may do. Names are quoted: they may hold anything. */
export function grantsFor(roles: { readonly owner: string | null; readonly follower: string | null }): string {
  const [owner, follower] = [roles.owner, roles.follower].map((role) => (role === null ? null : quoteName(role)));
  return [
    ...(owner == null
      ? []
      : [
          `grant usage on schema codex_auth to ${owner};`,
          `grant select on codex_auth.migration to ${owner};`,
          `grant select, insert, update on codex_auth.credential to ${owner};`,
          `grant select, insert, update, delete on codex_auth.spend, codex_auth.owner to ${owner};`,
        ]),
    ...(follower == null
      ? []
      : [
          `grant usage on schema codex_auth to ${follower};`,
          `grant select on codex_auth.migration, codex_auth.owner to ${follower};`,
          // Neither the sealed refresh token nor its fingerprint.
          `grant select (id, version, sealed_follower, expires_at, updated_at) on codex_auth.credential to ${follower};`,
        ]),
  ].join("\n");
}

/** A name as SQL text may hold it, whatever is in it. */
export function quoteName(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}
