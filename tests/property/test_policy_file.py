"""Any text is a policy or is refused as one; what a policy is written as is read as that policy."""

from __future__ import annotations

import contextlib
import json
import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from pando_shared.errors import InvalidPolicy
from pando_shared.jobs import Priority
from pando_shared.policy import ClassPolicy, Policy, TenantPolicy
from pando_shared.policy_file import parse_policy, read_policy

NAMES = ("scheduling", "classes", "tenants", "default_tenant", "high", "low", "acme", "a b", "")
KEYS = ("half_life", "weight", "limit", "guaranteed", "max_jobs", "max_slowdown", "preempt_after")
VALUES = (
    "1",
    "-1",
    "0.5",
    "inf",
    "nan",
    "true",
    '"5m"',
    '"never"',
    "[]",
    "{}",
    "07:32:00",
    "1e999",
)

seconds = st.floats(0, 1e9)
above_zero = st.floats(1e-6, 1e9)
counts = st.integers(0, 2**63 - 1)
classes = st.builds(ClassPolicy, st.none() | seconds, st.floats(1, 1e6))
tenants = st.builds(
    lambda weight, guaranteed, more, max_jobs: TenantPolicy(
        weight, guaranteed, None if more is None else guaranteed + more, max_jobs
    ),
    above_zero,
    seconds,
    st.none() | seconds,
    st.none() | counts,
)
policies = st.builds(
    Policy,
    classes=st.fixed_dictionaries(dict.fromkeys(Priority, classes)),
    tenants=st.dictionaries(st.text(max_size=8), tenants, max_size=3),
    default_tenant=tenants,
    usage_half_life_seconds=above_zero,
    fairness=st.floats(0, 4),
    starvation_seconds=above_zero,
    reservation_seconds=seconds,
    reserved_share=st.floats(1e-6, 1),
    minimum_run_seconds=seconds,
    max_preemptions=counts,
    preempt_longer=st.none() | st.floats(1, 1e6),
    minimum_gain=st.floats(0, 1),
)


def quoted(name: str) -> str:
    """A TOML basic string; of what JSON leaves as it is, TOML forbids only U+007F."""
    return json.dumps(name, ensure_ascii=False).replace("\x7f", "\\u007f")


def value(given: float | None, none: str = "unlimited") -> str:
    return quoted(none) if given is None else repr(given)


def tenant_lines(header: str, tenant: TenantPolicy) -> list[str]:
    return [
        f"[{header}]",
        f"weight = {tenant.weight!r}",
        f"guaranteed = {tenant.guaranteed!r}",
        f"limit = {value(tenant.limit)}",
        f"max_jobs = {value(tenant.max_jobs)}",
    ]


def written(policy: Policy) -> str:
    lines = [
        "[scheduling]",
        f"half_life = {policy.usage_half_life_seconds!r}",
        f"fairness = {policy.fairness!r}",
        f"starvation_after = {policy.starvation_seconds!r}",
        f"reservation_within = {policy.reservation_seconds!r}",
        f"reserved_share = {policy.reserved_share!r}",
        f"minimum_run = {policy.minimum_run_seconds!r}",
        f"max_preemptions = {policy.max_preemptions!r}",
        f"preempt_longer = {value(policy.preempt_longer, 'never')}",
        f"minimum_gain = {policy.minimum_gain!r}",
    ]
    for priority, treated in policy.classes.items():
        lines += [
            f"[classes.{priority.value}]",
            f"preempt_after = {value(treated.preempt_after_seconds, 'never')}",
            f"max_slowdown = {treated.max_slowdown!r}",
        ]
    for name, tenant in policy.tenants.items():
        lines += tenant_lines(f"tenants.{quoted(name)}", tenant)
    lines += tenant_lines("default_tenant", policy.default_tenant)
    return "\n".join(lines)


@given(policies)
def test_what_is_written_is_read(policy: Policy) -> None:
    assert parse_policy(written(policy), "p") == policy


toml_like = st.lists(
    st.one_of(
        st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map(
            lambda names: f"[{'.'.join(json.dumps(name) for name in names)}]"
        ),
        st.tuples(st.sampled_from(KEYS + NAMES), st.sampled_from(VALUES)).map(
            lambda pair: f"{json.dumps(pair[0])} = {pair[1]}"
        ),
        st.text(max_size=10),
    ),
    max_size=10,
).map("\n".join)


@given(st.text() | toml_like)
def test_any_text_is_a_policy_or_refused_as_one(text: str) -> None:
    policy, problems = Policy(), ("none",)
    try:
        policy = parse_policy(text, "p")
    except InvalidPolicy as error:
        problems = error.problems
    assert all(problems)
    assert problems
    for tenant in (policy.default_tenant, *policy.tenants.values()):
        assert tenant.weight > 0
        assert tenant.limit is None or tenant.limit >= tenant.guaranteed >= 0


@given(st.binary(max_size=50))
def test_any_bytes_are_a_policy_or_refused_as_one(content: bytes) -> None:
    with tempfile.NamedTemporaryFile(suffix=".toml") as file:
        file.write(content)
        file.flush()
        with contextlib.suppress(InvalidPolicy):
            read_policy(Path(file.name))
