"""How far this machine's clock is from Redis's, by which the services go."""

from __future__ import annotations

from pando_cli.doctor.finding import Finding, fail, ok, warn
from pando_cli.doctor.redis_facts import RedisFacts

NAME = "clock"
WARN_SECONDS, FAIL_SECONDS = 1.0, 10.0


def clock_skew(facts: RedisFacts) -> Finding:
    """Judges only what is more than the answer's own delay."""
    skew = facts.skew_seconds
    distance = abs(skew)
    sure = distance - facts.skew_error_seconds
    found = f"{distance:.3f} s {'ahead of' if skew >= 0 else 'behind'} Redis's"
    mend = "Let both machines keep time by NTP (`timedatectl set-ntp true`, or chrony)."
    if sure > FAIL_SECONDS:
        return fail(NAME, found, mend)
    return warn(NAME, found, mend) if sure > WARN_SECONDS else ok(NAME, found)
