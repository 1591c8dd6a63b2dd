"""Whether Redis keeps what it is given, and from whom."""

from __future__ import annotations

from packaging.version import InvalidVersion, Version

from pando_cli.doctor.finding import Finding, fail, ok, skipped, warn
from pando_cli.doctor.redis_facts import NAME, RedisFacts
from pando_cli.rendering import human_bytes
from pando_cli.stack.redis_server import OLDEST_REDIS

#: Shares of the memory it may use.
WARN_USED, FAIL_USED = 0.80, 0.95
_CONFIG = "and in its configuration file, else it is forgotten at the next start"


def redis_state(facts: RedisFacts) -> list[Finding]:
    return [
        ok(NAME, f"answers at {facts.address}"),
        version(facts),
        eviction(facts),
        persistence(facts),
        access(facts),
        memory(facts),
        evicted(facts),
        last_save(facts),
    ]


def _title(what: str) -> str:
    return f"{NAME} {what}"


def version(facts: RedisFacts) -> Finding:
    name = _title("version")
    try:
        found = Version(facts.version)
    except InvalidVersion:
        return warn(
            name, f"{facts.version!r} is no version", f"Make sure it can do all of {OLDEST_REDIS}."
        )
    if found < Version(OLDEST_REDIS):
        return fail(
            name,
            f"{facts.version}, but the store's scripts need {OLDEST_REDIS}",
            f"Install Redis {OLDEST_REDIS} or newer; its data files stay readable.",
        )
    return ok(name, facts.version)


def eviction(facts: RedisFacts) -> Finding:
    name, policy = _title("eviction"), facts.memory_policy
    found = f"maxmemory-policy is {policy or 'not told'}"
    mend = f"`CONFIG SET maxmemory-policy noeviction`, {_CONFIG}."
    if policy == "noeviction":
        return ok(name, found)
    if policy.startswith("volatile-"):
        return warn(name, f"{found}: a full Redis forgets leases and samples", mend)
    if not policy:
        return skipped(name, "this Redis does not tell its maxmemory-policy")
    return fail(name, f"{found}: a full Redis forgets jobs", mend)


def persistence(facts: RedisFacts) -> Finding:
    name = _title("persistence")
    mend = f"`CONFIG SET appendonly yes`, {_CONFIG}."
    if facts.appends:
        return ok(name, "appendonly is on")
    if facts.snapshots is None:
        return warn(name, "appendonly is off; snapshots are not told", mend)
    if facts.snapshots:
        return warn(
            name, "appendonly is off: a crash loses all that came after the last snapshot", mend
        )
    return fail(name, "neither appendonly nor snapshots: a restart loses every job", mend)


def access(facts: RedisFacts) -> Finding:
    name = _title("access")
    password = "Set a password (`requirepass`) and put it into PANDO_REDIS_URL"
    if facts.asks_password:
        return ok(name, "asks for a password")
    if facts.bound is None:
        return warn(name, "no password; which addresses it listens on is not told", f"{password}.")
    if facts.bound and all(map(_loopback, facts.bound)):
        return ok(name, "no password, and listens to this machine only")
    where = " ".join(facts.bound) or "every address"
    if facts.protected:
        return warn(
            name,
            f"no password on {where}; only protected-mode keeps other machines out",
            f"{password}, or bind it to 127.0.0.1.",
        )
    return fail(
        name,
        f"no password and no protected-mode on {where}: whoever reaches it owns the jobs",
        f"{password}, or bind it to 127.0.0.1, at once.",
    )


def _loopback(address: str) -> bool:
    """A leading "-" means that the address may be missing."""
    plain = address.removeprefix("-")
    return plain in ("::1", "localhost") or plain.startswith("127.")


def memory(facts: RedisFacts) -> Finding:
    name = _title("memory")
    limit = facts.max_bytes or facts.machine_bytes
    of = "maxmemory" if facts.max_bytes else "the machine's memory, no maxmemory set"
    used = human_bytes(facts.used_bytes)
    if not limit:
        return ok(name, f"{used}, no limit")
    share = facts.used_bytes / limit
    found = f"{used} used, {100 * share:.1f} % of {of} ({human_bytes(limit)})"
    mend = (
        "Raise maxmemory or give the machine more; `pando files` and `pando list` show what can be "
        "deleted."
    )
    if share >= FAIL_USED:
        return fail(name, f"{found}: writes are refused when it is full", mend)
    return warn(name, found, mend) if share >= WARN_USED else ok(name, found)


def evicted(facts: RedisFacts) -> Finding:
    name = _title("evicted keys")
    if not facts.evicted_keys:
        return ok(name, "none")
    return fail(
        name,
        f"{facts.evicted_keys} keys were thrown away to save memory",
        "Set maxmemory-policy to noeviction, give it more memory, bring lost jobs back with "
        "`pando recover`, then `CONFIG RESETSTAT` to count anew.",
    )


def last_save(facts: RedisFacts) -> Finding:
    name = _title("last save")
    mend = "Look for room and permissions on its disk; its log has the reason."
    if facts.appends and not facts.append_written:
        return fail(name, "the last write to the append-only file failed", mend)
    if not facts.snapshot_saved:
        return fail(name, "the last snapshot failed", mend)
    if facts.appends and not facts.append_rewritten:
        return warn(
            name, "the last rewrite of the append-only file failed, so that it only grows", mend
        )
    return ok(name, "went well")
