"""URL and API key: from flags or the environment, else what `pando up` left in its home."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

import httpx

from pando_cli.errors import KeyRejected, UsageError
from pando_cli.home import Home
from pando_cli.private_file import write_private

DEFAULT_URL = "http://127.0.0.1:8000"


@dataclass(frozen=True, slots=True)
class ClientConfig:
    """How to reach a service. `url` is its root, without `/v1`."""

    url: str
    api_key: str


def save(home: Home, config: ClientConfig) -> None:
    write_private(home.client_config, json.dumps(asdict(config), indent=2) + "\n")


def load(home: Home) -> ClientConfig | None:
    """What `pando up` wrote, or None.

    Raises:
        UsageError: the file is there but is not what `pando up` writes.
    """
    try:
        stored = home.client_config.read_bytes()
    except FileNotFoundError:
        return None
    try:
        fields = json.loads(stored)
        return ClientConfig(url=str(fields["url"]), api_key=str(fields["api_key"]))
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{home.client_config} is not a client configuration: {error}",
            hint="Delete it; `pando up` writes a new one.",
        ) from error


def resolve(home: Home, url: str | None, api_key: str | None) -> ClientConfig:
    """What was given wins over the home's client.json, whose key goes to its own URL only.

    Raises:
        KeyRejected: there is no API key anywhere, or what was given cannot be one.
    """
    kept = load(home)
    url = url or (kept.url if kept else DEFAULT_URL)
    root = url.rstrip("/").removesuffix("/v1")
    if not root.startswith(("http://", "https://")):
        raise UsageError(f"--url must start with http:// or https://, got {url!r}", param="url")
    try:
        httpx.URL(root)
    except httpx.InvalidURL as error:
        raise UsageError(f"--url {url!r} is no address: {error}", param="url") from error
    if not api_key and kept is not None and kept.url == root:
        api_key = kept.api_key
    if not api_key:
        raise KeyRejected(
            f"no API key for {root}",
            hint="Start a stack here with `pando up`, or pass --api-key or set PANDO_API_KEY "
            "(`pando keys create` makes a key).",
        )
    api_key = api_key.strip()  # a line of a file, often
    if not (api_key.isascii() and api_key.isprintable()):
        raise KeyRejected(
            "the API key has characters that no key has",
            hint="A key is sk-pando- and 43 letters, digits, - and _; was it copied whole?",
        )
    return ClientConfig(root, api_key)
