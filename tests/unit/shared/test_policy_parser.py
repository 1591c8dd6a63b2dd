"""What a policy file says, and what is said about a wrong one. Expectations are by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from pando_shared.errors import InvalidPolicy, InvalidRequest
from pando_shared.jobs import Priority
from pando_shared.policy import ClassPolicy, Policy, TenantPolicy
from pando_shared.policy_file import as_document, parse_policy


def problems(text: str) -> tuple[str, ...]:
    with pytest.raises(InvalidPolicy) as caught:
        parse_policy(text, "policy.toml")
    assert all(problem in caught.value.message for problem in caught.value.problems)
    assert caught.value.message.startswith("policy.toml")
    return caught.value.problems


def problem(text: str) -> str:
    (only,) = problems(text)
    return only


def test_an_empty_file_is_the_default() -> None:
    assert parse_policy("", "p") == Policy()
    assert parse_policy("[tenants]\n[classes]\n[scheduling]\n", "p") == Policy()


def test_every_key_is_read() -> None:
    policy = parse_policy(
        """
        [scheduling]
        half_life = "1d"
        fairness = 0.25
        starvation_after = "2h30m"
        reservation_within = 90
        reserved_share = 1
        minimum_run = "0s"
        max_preemptions = 0
        preempt_longer = "never"
        minimum_gain = 0.5
        [classes.high]
        preempt_after = "never"
        max_slowdown = 1
        [classes.low]
        preempt_after = "1.5m"
        [default_tenant]
        max_jobs = 7
        [tenants.acme]
        weight = 2
        guaranteed = 1.5
        limit = 1.5
        max_jobs = 0
        requests_per_minute = 60
        max_storage = "2 GiB"
        """,
        "p",
    )
    default = Policy()
    assert policy == Policy(
        classes={
            Priority.HIGH: ClassPolicy(None, 1.0),
            Priority.NORMAL: default.classes[Priority.NORMAL],
            Priority.LOW: replace(default.classes[Priority.LOW], preempt_after_seconds=90.0),
        },
        tenants={"acme": TenantPolicy(2.0, 1.5, 1.5, 0, 60, 2 * 1024**3)},
        default_tenant=TenantPolicy(max_jobs=7),
        usage_half_life_seconds=86_400.0,
        fairness=0.25,
        starvation_seconds=9000.0,
        reservation_seconds=90.0,
        reserved_share=1.0,
        minimum_run_seconds=0.0,
        max_preemptions=0,
        preempt_longer=None,
        minimum_gain=0.5,
    )


def test_a_tenant_has_what_it_leaves_out_from_the_default_tenant() -> None:
    policy = parse_policy(
        """
        [tenants.default]
        limit = "unlimited"
        [tenants."example.com"]
        [default_tenant]
        weight = 3
        limit = 2
        max_jobs = 5
        """,
        "p",
    )
    assert policy.tenant("default") == TenantPolicy(weight=3.0, max_jobs=5)
    assert policy.tenant("example.com") == policy.tenant("anyone") == TenantPolicy(3.0, 0.0, 2.0, 5)


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ('"90s"', 90),
        ('"5m"', 300),
        ('"8h"', 28_800),
        ('"1d"', 86_400),
        ('"1d2h3m4s"', 93_784),
        ('"0.5h"', 1800),
        ("12", 12),
        ("0.25", 0.25),
    ],
)
def test_durations(written: str, seconds: float) -> None:
    policy = parse_policy(f"[scheduling]\nhalf_life = {written}", "p")
    assert policy.usage_half_life_seconds == seconds


@pytest.mark.parametrize(
    "written",
    [
        *('""', '"5"', '"5 m"', '"m"', '"-5m"', '"5m1h"', '"5w"', '"never"', '"٣m"'),
        *("0", "-1", "inf", "nan", "true", "[5]", "1979-05-27", f'"{"9" * 400}h"'),
    ],
)
def test_what_is_no_duration(written: str) -> None:
    said = problem(f"[scheduling]\nhalf_life = {written}")
    assert said.startswith("scheduling.half_life = ")
    assert said.endswith(
        ': must be a duration above 0, such as "90s", "5m", "1h30m", "1d" or a number of seconds'
    )


@pytest.mark.parametrize(
    ("written", "size"),
    [
        ('"0 B"', 0),
        ('"500 kB"', 500_000),
        ('"1.5MB"', 1_500_000),
        ('"2 TB"', 2 * 10**12),
        ('"3KiB"', 3072),
        ('"0.5 MiB"', 524_288),
        ('"50 GiB"', 53_687_091_200),
        ("12", 12),
    ],
)
def test_sizes(written: str, size: int) -> None:
    policy = parse_policy(f"[default_tenant]\nmax_storage = {written}", "p")
    assert policy.default_tenant.max_storage_bytes == size


@pytest.mark.parametrize(
    "written",
    [
        *('""', '"5"', '"5  GB"', '"GB"', '"-5 GB"', '"5 gb"', '"5 PB"', '"never"', '"٣ GB"'),
        *("-1", "1.5", "inf", "true", "[5]", f'"{"9" * 400} GB"', '"99999999 TB"'),
    ],
)
def test_what_is_no_size(written: str) -> None:
    said = problem(f"[default_tenant]\nmax_storage = {written}")
    assert said.startswith("default_tenant.max_storage = ")
    assert said.endswith(
        ': must be a size of at least 0, such as "500 MB", "50 GiB" or a number of bytes, '
        'or "unlimited"'
    )


@pytest.mark.parametrize(
    ("table", "line", "allowed"),
    [
        ("scheduling", "reserved_share = 0", "a finite number above 0 and at most 1"),
        ("scheduling", "reserved_share = 1.01", "a finite number above 0 and at most 1"),
        ("scheduling", "minimum_gain = -0.1", "a finite number of at least 0 and at most 1"),
        ("scheduling", "max_preemptions = -1", "a whole number of at least 0"),
        ("scheduling", "max_preemptions = 2.0", "a whole number of at least 0"),
        ("classes.high", "max_slowdown = 0.99", "a finite number of at least 1"),
        ("classes.low", "max_slowdown = inf", "a finite number of at least 1"),
        ("tenants.acme", "weight = 0", "a finite number above 0"),
        ("tenants.acme", "weight = nan", "a finite number above 0"),
        ("tenants.acme", 'weight = "2"', "a finite number above 0"),
        ("tenants.acme", "guaranteed = -1", "a finite number of at least 0"),
        ("tenants.acme", 'limit = "none"', 'a finite number of at least 0, or "unlimited"'),
        ("tenants.acme", "max_jobs = true", 'a whole number of at least 0, or "unlimited"'),
        ("default_tenant", "max_jobs = -3", 'a whole number of at least 0, or "unlimited"'),
    ],
)
def test_what_is_out_of_range_is_named_with_what_is_allowed(
    table: str, line: str, allowed: str
) -> None:
    assert problem(f"[{table}]\n{line}") == f"{table}.{line}: must be {allowed}"


def test_a_number_too_large_to_write_out_is_refused_too() -> None:
    said = problem(f"[default_tenant]\nmax_jobs = 0x{'f' * 5000}")
    assert said.startswith("default_tenant.max_jobs = a number of 20000 bits: must be")
    assert problem(f"[default_tenant]\nweight = 1{'0' * 400}").endswith("number above 0")


def test_a_limit_below_the_guarantee() -> None:
    assert problem("[tenants.a]\nguaranteed = 2\nlimit = 1.5") == (
        "tenants.a.limit = 1.5: must be at least guaranteed, which is 2"
    )
    assert problem("[default_tenant]\nguaranteed = 2\n[tenants.a]\nlimit = 1") == (
        "tenants.a.limit = 1: must be at least guaranteed, which is 2 by [default_tenant]"
    )
    assert problem("[default_tenant]\nlimit = 1\n[tenants.a]\nguaranteed = 2") == (
        "tenants.a.guaranteed = 2: must be at most limit, which is 1 by [default_tenant]"
    )
    told_once = "[default_tenant]\nlimit = 1\nguaranteed = 2\n[tenants.a]\nweight = 2"
    assert problem(told_once).startswith("default_tenant.limit")


def test_an_unknown_key_names_the_nearest() -> None:
    assert problem("[tenants.acme]\nwieght = 2") == (
        "tenants.acme.wieght: unknown key; did you mean weight? "
        "there are weight, guaranteed, limit, max_jobs, requests_per_minute, max_storage"
    )
    assert "did you mean scheduling?" in problem("[schedulling]")
    assert "did you mean high?" in problem("[classes.hihg]\nmax_slowdown = 0")
    assert problem("zzz = 1") == (
        "zzz: unknown key; there are scheduling, classes, default_tenant, tenants"
    )


def test_a_name_with_dots_is_told_to_be_quoted() -> None:
    assert problem("[tenants.example.com]\nweight = 2").endswith(
        'a name with dots stands in quotes: [tenants."example.com"]'
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tenants = 3", "tenants = 3: must be a table, [tenants]"),
        ("[[tenants]]", "tenants = an array: must be a table, [tenants]"),
        ("[tenants]\nacme = 'x'", 'tenants.acme = "x": must be a table, [tenants.acme]'),
        ("[classes]\nlow = false", "classes.low = false: must be a table, [classes.low]"),
        ('[tenants]\n"a b" = 1', 'tenants."a b" = 1: must be a table, [tenants."a b"]'),
    ],
)
def test_a_value_where_a_table_must_be(text: str, said: str) -> None:
    assert problem(text) == said


def test_what_a_terminal_would_act_upon_is_escaped() -> None:
    said = problem('[tenants."\\u001b[31m"]\nweight = "\\u009b31m"')
    assert said.startswith('tenants."\\u001b[31m".weight = "\\u009b31m": must be')


def test_all_problems_are_told_at_once() -> None:
    text = """
        oops = 1
        [scheduling]
        half_life = "soon"
        max_preemptions = -1
        [classes.urgent]
        [tenants.a]
        weight = -1
        [tenants.b]
        limit = -1
        guaranteed = 3
        colour = "red"
    """
    keys = [said.split(" =")[0].split(":")[0] for said in problems(text)]
    assert sorted(keys) == [
        "classes.urgent",
        "oops",
        "scheduling.half_life",
        "scheduling.max_preemptions",
        "tenants.a.weight",
        "tenants.b.colour",
        "tenants.b.limit",
    ]


def test_a_syntax_error_names_its_line() -> None:
    assert problem("[scheduling]\nhalf_life = 6h\n").startswith("line 2, column ")
    assert problem("[scheduling]\n\nhalf_life =").startswith("line 3, at the end: not TOML")
    assert problem("[tenants.a]\nlimit = 1\nlimit = 2\n").startswith("line 3, column ")


@pytest.mark.parametrize("text", ["a = " + "[" * 100_000, f"a = {'9' * 5000}", "a = 2023-99-99"])
def test_what_the_toml_reader_itself_breaks_on(text: str) -> None:
    problem(text)


def test_it_is_a_request_that_cannot_be_met() -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_policy("x = 1", "policy.toml")
    assert caught.value.code == "invalid_policy"


def test_a_policy_as_tables_says_all() -> None:
    document = as_document(parse_policy("[tenants.acme]\nweight = 2", "p"))
    assert document["tenants"] == {
        "acme": {
            "weight": 2.0,
            "guaranteed": 0.0,
            "limit": None,
            "max_jobs": None,
            "requests_per_minute": None,
            "max_storage": None,
        }
    }
    assert document["classes"]["low"] == {"preempt_after": None, "max_slowdown": 1.6}
    assert list(document["classes"]) == ["high", "normal", "low"]
    assert math.isclose(document["scheduling"]["half_life"], 6 * 3600)
