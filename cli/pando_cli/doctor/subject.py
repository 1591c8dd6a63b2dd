"""Which stack is examined, and what is known of it."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pando_cli import client_config, stack_record
from pando_cli.client_config import ClientConfig
from pando_cli.commands.stack import default_models
from pando_cli.doctor.finding import Finding, fail, ok
from pando_cli.errors import StackError, UsageError
from pando_cli.home import Home
from pando_cli.policy_source import policy_of
from pando_cli.stack_record import StackRecord
from pando_shared.settings import Settings

_NAME = "configuration"


@dataclass(frozen=True, slots=True)
class Subject:
    """What the checks need to know.

    `stack` is the one that runs in the home, if that is the one examined. `redis_url` and `url`
    are None where nobody has said where Redis or the API is. `elsewhere`: only a URL is known, of
    a stack whose storage, models and policy are not this machine's.
    """

    home: Home
    settings: Settings
    stack: StackRecord | None
    redis_url: str | None
    url: str | None
    api_key: str | None
    policy_file: Path | None
    elsewhere: bool
    configuration: tuple[Finding, ...]

    @property
    def nothing_runs(self) -> str:
        """Why what belongs to a running stack is not looked at."""
        if self.elsewhere:
            return (
                "only the URL of that stack is known; set PANDO_REDIS_URL and PANDO_STORAGE_URL "
                "to see this too"
            )
        return f"no stack runs in {self.home.root}; `pando up` starts one"


def find_subject(home: Home, url: str | None, api_key: str | None) -> Subject:
    """The stack of $PANDO_REDIS_URL, else the one that runs in the home, else what is to be.

    `url` and `api_key` win over what `pando up` left in the home.
    """
    problems: list[Finding] = []
    record = _record(home, problems)
    kept = _client(home, problems)
    url = url.rstrip("/").removesuffix("/v1") if url else None
    named = "PANDO_REDIS_URL" in os.environ
    own = {known.url for known in (record, kept) if known is not None}
    elsewhere = url is not None and not named and url not in own
    stack = None if named or elsewhere else record
    settings = _settings(home, stack, problems)
    url = url or (stack.url if stack else None)
    if api_key is None and kept is not None and kept.url == url:
        api_key = kept.api_key
    rules = settings.policy_file
    return Subject(
        home=home,
        settings=settings,
        stack=stack,
        redis_url=settings.redis_url if named or stack else None,
        url=url,
        api_key=api_key,
        policy_file=rules if named or stack else policy_of(home, rules),
        elsewhere=elsewhere,
        configuration=tuple(problems) or (ok(_NAME, _source(home, named, stack, elsewhere)),),
    )


def _source(home: Home, named: bool, stack: StackRecord | None, elsewhere: bool) -> str:
    if named:
        return "the stack of the PANDO_* environment"
    if stack is not None:
        return f"the stack that runs in {home.root}"
    return "the stack at --url" if elsewhere else f"no stack runs in {home.root}"


def _defaults(home: Home) -> dict[str, Any]:
    """What `pando up` takes where the environment says nothing."""
    given: dict[str, Any] = {}
    if "PANDO_STORAGE_URL" not in os.environ:
        given["storage_url"] = f"file://{home.storage}"
    if "PANDO_REDIS_URL" not in os.environ and "PANDO_MODELS" not in os.environ:
        with suppress(UsageError):
            given["models"] = default_models()
    return given


def _record(home: Home, problems: list[Finding]) -> StackRecord | None:
    try:
        return stack_record.running(home)
    except StackError as error:
        problems.append(fail(_NAME, error.message, error.hint or ""))
    except OSError as error:
        problems.append(
            fail(
                _NAME,
                f"{home.stack_record} cannot be read ({type(error).__name__})",
                "Run this as the user who runs the stack.",
            )
        )
    return None


def _client(home: Home, problems: list[Finding]) -> ClientConfig | None:
    try:
        return client_config.load(home)
    except UsageError as error:
        problems.append(fail(_NAME, error.message, error.hint or ""))
    except OSError as error:
        problems.append(
            fail(
                _NAME,
                f"{home.client_config} cannot be read: {error.strerror}",
                "Run this as the user who runs the stack.",
            )
        )
    return None


def _settings(home: Home, stack: StackRecord | None, problems: list[Finding]) -> Settings:
    """The stack's own, else those of the environment, with storage in the home by default."""
    given: dict[str, Any] = {}
    if stack is not None:
        given = {k.removeprefix("PANDO_").lower(): v for k, v in stack.environment.items()}
    else:
        given = _defaults(home)
    try:
        return Settings(**given)
    except ValidationError as error:
        # Not their values, which may be secret.
        told = [f"PANDO_{'.'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in error.errors()]
        problems.append(
            fail(_NAME, "; ".join(told), "Correct these variables; services do not start so.")
        )
        usable = {key: given[key] for key in ("redis_url", "storage_url") if key in given}
        return Settings.model_construct(**usable)
