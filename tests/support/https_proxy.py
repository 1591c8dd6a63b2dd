"""Real proxies with HTTPS in front of an API, configured as docs/https.md tells.

Of a page's configuration only what cannot be had here is replaced: the name that users call, by
`localhost`; the ports; the API's address; nginx's certificate.
"""

from __future__ import annotations

import getpass
import os
import shutil
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from docs_commands import blocks
from openai import OpenAI
from redis_process import free_port

PAGE = "docs/https.md"
#: What the page calls the API, and itself.
API, NAME = "127.0.0.1:8000", "pando.example.com"


@dataclass(frozen=True)
class HttpsProxy:
    """`authority` is a file with the certificate that a client has to trust."""

    url: str
    http_url: str
    authority: Path

    def http(self, source: str | None = None) -> httpx.Client:
        """A client that comes from an address of this machine, such as 127.0.0.2."""
        trust = ssl.create_default_context(cafile=str(self.authority))
        transport = httpx.HTTPTransport(verify=trust, local_address=source)
        return httpx.Client(base_url=self.url, transport=transport, timeout=60)

    @contextmanager
    def client(self, api_key: str) -> Iterator[OpenAI]:
        """The stock one."""
        with (
            self.http() as http,
            OpenAI(base_url=f"{self.url}/v1", api_key=api_key, http_client=http) as made,
        ):
            yield made


Start = Callable[[Path, str], AbstractContextManager[HttpsProxy]]


def configuration(language: str, section: str, **replaced: str) -> str:
    """The page's block below a heading; `replaced` are further words of it."""
    (block,) = (
        each.text for each in blocks(PAGE) if (each.language, each.section) == (language, section)
    )
    for old, new in replaced.items():
        assert old in block, f"{PAGE} does not say {old!r} below {section!r}"
        block = block.replace(old, new)
    return block


@contextmanager
def caddy(folder: Path, api: str, section: str = "Caddy") -> Iterator[HttpsProxy]:
    """In front of the API at `host:port`. It makes its certificates itself, as `tls internal`."""
    folder.mkdir()
    ports = free_port(), free_port()
    site = configuration("caddyfile", section, **{NAME: "localhost", API: api})
    options = "\n    ".join(
        ("admin off", "skip_install_trust", f"http_port {ports[0]}", f"https_port {ports[1]}")
    )
    (folder / "Caddyfile").write_text(f"{{\n    {options}\n}}\n\n{site}")
    command = ["caddy", "run", "--adapter", "caddyfile", "--config", str(folder / "Caddyfile")]
    authority = folder / "caddy" / "pki" / "authorities" / "local" / "root.crt"
    with _running(command, folder, authority, *ports) as made:
        yield made


@contextmanager
def nginx(folder: Path, api: str) -> Iterator[HttpsProxy]:
    """In front of the API at `host:port`."""
    folder.mkdir()
    ports = free_port(), free_port()
    certificate, key = folder / "localhost.crt", folder / "localhost.key"
    _make_certificate(certificate, key)
    servers = configuration(
        "nginx",
        "nginx",
        **{NAME: "localhost", API: api, "listen 80;": f"listen {ports[0]};"},
        **{"listen 443 ssl;": f"listen {ports[1]} ssl;"},
        **{"/etc/ssl/pando.crt": str(certificate), "/etc/ssl/pando.key": str(key)},
    )
    temporary = "\n".join(
        f"{name}_temp_path {folder}/{name};"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"user {getpass.getuser()};\ndaemon off;\npid {folder}/pid;\nevents {{}}\n"
        f"http {{\naccess_log off;\n{temporary}\n{servers}}}\n"
    )
    command = ["nginx", "-e", "stderr", "-c", str(folder / "nginx.conf")]
    with _running(command, folder, certificate, *ports) as made:
        yield made


#: By the program's name.
PROXIES: dict[str, Start] = {"caddy": caddy, "nginx": nginx}


def needs(program: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(
        shutil.which(program) is None, reason=f"needs {program}: .ci/proxies installs it"
    )


def _make_certificate(certificate: Path, key: Path) -> None:
    """One for `localhost` that its owner has signed, for a day."""
    options = "-x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost"
    names = ["-addext", "subjectAltName=DNS:localhost", "-out", certificate, "-keyout", key]
    subprocess.run(["openssl", "req", *options.split(), *names], check=True, capture_output=True)


@contextmanager
def _running(
    command: list[str], folder: Path, authority: Path, http_port: int, https_port: int
) -> Iterator[HttpsProxy]:
    environment = {**os.environ, "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        made = HttpsProxy(
            f"https://localhost:{https_port}", f"http://localhost:{http_port}", authority
        )
        _await(made, process, folder / "log")
        yield made
    finally:
        process.terminate()
        process.wait()


def _await(proxy: HttpsProxy, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        # The certificate may not be there yet, or not be the one that is shown yet.
        with suppress(httpx.TransportError, OSError), proxy.http() as http:
            http.get("/healthz")
            return
        time.sleep(0.1)
    raise TimeoutError(f"the proxy did not start: {log.read_text()}")
