"""What operators are shown of policy files is right: the page, the example, the compose file."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from pando_shared.jobs import Priority
from pando_shared.policy import Policy, TenantPolicy
from pando_shared.policy_file import parse_policy, read_policy
from pando_shared.policy_keys import CLASS, SCHEDULING, TENANT

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "sharing.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```toml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS)
def test_every_example_of_the_page_is_a_policy(block: str) -> None:
    parse_policy(block, "docs/sharing.md")


def test_the_defaults_that_the_page_tells_are_the_defaults() -> None:
    told = [block for block in BLOCKS if "[scheduling]" in block or "[classes.high]" in block]
    assert len(told) == 2
    document = parse_policy("".join(told), "docs/sharing.md")
    assert document == Policy()
    for key in (*SCHEDULING, *CLASS):
        assert f"\n{key.name} = " in "".join(told)


def test_the_page_has_every_key_of_a_tenant_with_its_default() -> None:
    table = dict(re.findall(r"^\| `(\w+)` \| (\S+) \|", PAGE, re.MULTILINE))
    lines = [f"{key} = {default.strip('`')}" for key, default in table.items()]
    assert list(table) == [key.name for key in TENANT]
    parsed = parse_policy("\n".join(["[default_tenant]", *lines]), "docs/sharing.md")
    assert parsed.default_tenant == TenantPolicy()


def test_the_pages_tenants_have_what_it_says() -> None:
    (block,) = [block for block in BLOCKS if "[tenants.default]" in block]
    policy = parse_policy(block, "docs/sharing.md")
    assert policy.tenant("default") == TenantPolicy(max_jobs=5)
    assert policy.tenant("example.com") == TenantPolicy(weight=3.0, limit=1.0)
    assert policy.tenant("anyone") == TenantPolicy(limit=1.0, max_jobs=5)


def test_the_example_is_a_policy() -> None:
    policy = read_policy(ROOT / "examples" / "policy.toml")
    assert policy.tenant("research") == TenantPolicy(2.0, 2.0, None, 200)
    assert policy.tenant("product") == TenantPolicy(1.0, 1.0, 4.0, 50)
    assert policy.tenant("anyone") == TenantPolicy(limit=1.0, max_jobs=10)
    assert policy.classes[Priority.NORMAL].preempt_after_seconds == 15 * 60
    assert policy.starvation_seconds == 4 * 3600


def test_compose_goes_by_the_policy_of_a_folder_that_may_be_named() -> None:
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    for name in ("api", "scheduler"):
        service = services[name]
        (mount,) = [volume for volume in service["volumes"] if "PANDO_POLICY_DIR" in volume]
        source = re.fullmatch(r"\$\{PANDO_POLICY_DIR:-(\S+)\}:(\S+):ro", mount)
        assert source
        assert service["environment"]["PANDO_POLICY_FILE"] == f"{source[2]}/policy.toml"
        unless_named = read_policy(ROOT / source[1] / "policy.toml")
        assert unless_named == Policy()
