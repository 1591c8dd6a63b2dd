"""From the text of a policy file to its policy, or to all that is wrong with it."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pando_shared.errors import InvalidPolicy
from pando_shared.jobs import Priority
from pando_shared.policy import Policy, TenantPolicy
from pando_shared.policy_keys import CLASS, SCHEDULING, TENANT, Key, dotted, shown

_CLASSES = ("high", "normal", "low")
_TABLES = ("scheduling", "classes", "default_tenant", "tenants")
#: How tomllib ends its messages.
_PLACE = re.compile(r"(.*) \(at (?:line (\d+), column (\d+)|end of document)\)", re.DOTALL)

Table = Mapping[str, Any]


def parse_policy(text: str, path: str) -> Policy:
    """The policy that a file's text asks for; what it leaves out is as `Policy` has it.

    A key that [tenants.NAME] leaves out is as [default_tenant] has it. `path` is for messages.

    Raises:
        InvalidPolicy: has every problem of the file, or where it stops being TOML.
    """
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidPolicy(path, [_syntax_problem(error, text)]) from error
    reader = _Reader()
    policy = reader.policy(document)
    if reader.problems:
        raise InvalidPolicy(path, reader.problems)
    return policy


def as_document(policy: Policy) -> dict[str, Any]:
    """The tables of a policy file that says it all: durations in seconds, None left as it is."""
    return {
        "scheduling": _as_table(SCHEDULING, policy),
        "classes": {name: _as_table(CLASS, policy.classes[Priority(name)]) for name in _CLASSES},
        "default_tenant": _as_table(TENANT, policy.default_tenant),
        "tenants": {name: _as_table(TENANT, policy.tenants[name]) for name in policy.tenants},
    }


def _as_table(keys: Sequence[Key], value: object) -> dict[str, Any]:
    return {key.name: getattr(value, key.field) for key in keys}


class _Reader:
    """Reads table by table and goes on behind a problem, so that all are told at once."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    def policy(self, document: Table) -> Policy:
        self._known((), document, _TABLES)
        default = Policy()
        own = self._values(("scheduling",), self._table((), document, "scheduling"), SCHEDULING)
        classes = dict(default.classes)
        given = self._table((), document, "classes")
        self._known(("classes",), given, _CLASSES)
        for name in (name for name in _CLASSES if name in given):
            table = self._table(("classes",), given, name)
            values = self._values(("classes", name), table, CLASS)
            classes[Priority(name)] = replace(classes[Priority(name)], **values)
        anyone = self._tenant(
            ("default_tenant",), self._table((), document, "default_tenant"), TenantPolicy()
        )
        tables = self._table((), document, "tenants")
        tenants = {
            name: self._tenant(("tenants", name), self._table(("tenants",), tables, name), anyone)
            for name in tables
        }
        return replace(default, classes=classes, tenants=tenants, default_tenant=anyone, **own)

    def _tenant(self, path: tuple[str, ...], table: Table, anyone: TenantPolicy) -> TenantPolicy:
        values = self._values(path, table, TENANT)
        tenant = replace(anyone, **values)
        # Figures that this table sets neither of are told where they stand.
        here = [name for name in ("limit", "guaranteed") if name in values]
        if here and tenant.limit is not None and tenant.limit < tenant.guaranteed:
            other = "guaranteed" if here[0] == "limit" else "limit"
            bound = "at least" if here[0] == "limit" else "at most"
            source = "" if other in values else " by [default_tenant]"
            self.problems.append(
                f"{dotted(*path, here[0])} = {shown(table[here[0]])}: must be {bound} "
                f"{other}, which is {getattr(tenant, other):g}{source}"
            )
        return tenant

    def _values(self, path: tuple[str, ...], table: Table, keys: Sequence[Key]) -> dict[str, Any]:
        """The fields that the table sets rightly."""
        self._known(path, table, [key.name for key in keys])
        found: dict[str, Any] = {}
        for key in (key for key in keys if key.name in table):
            given = table[key.name]
            try:
                found[key.field] = key.value(given)
            except ValueError as error:
                where = dotted(*path, key.name)
                self.problems.append(f"{where} = {shown(given)}: must be {error}")
        return found

    def _table(self, path: tuple[str, ...], parent: Table, name: str) -> Table:
        """The table `name` in `parent`; empty if there is none, or something else."""
        found = parent.get(name, {})
        if isinstance(found, dict):
            return found
        where = dotted(*path, name)
        self.problems.append(f"{where} = {shown(found)}: must be a table, [{where}]")
        return {}

    def _known(self, path: tuple[str, ...], table: Table, names: Iterable[str]) -> None:
        known = list(names)
        for name in (name for name in table if name not in known):
            close = difflib.get_close_matches(name, known, n=1)
            nearest = f"did you mean {close[0]}? " if close else ""
            problem = f"{dotted(*path, name)}: unknown key; {nearest}there are {', '.join(known)}"
            if path[:1] == ("tenants",) and isinstance(table[name], dict):
                whole = dotted("tenants", f"{path[1]}.{name}")
                problem += f"; a name with dots stands in quotes: [{whole}]"
            self.problems.append(problem)


def _syntax_problem(error: Exception, text: str) -> str:
    if isinstance(error, RecursionError):
        return "its arrays or tables are nested too deep"
    found = _PLACE.fullmatch(str(error))
    if found is None:
        return f"not TOML: {error}"
    what, line, column = found.groups()
    if line is None:
        return f"line {text.count(chr(10)) + 1}, at the end: not TOML: {what}"
    return f"line {line}, column {column}: not TOML: {what}"
