"""Which test runs each command of the pages. What no entry here matches is typed as it stands,
on a stack of its own, by tests/e2e/test_docs_commands.py."""

from __future__ import annotations

import re
from dataclasses import dataclass

from docs_commands import Block, Command, commands


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Commands that another test runs, or none does. `test` is a file below tests/; "" says that
    only what `why` names can run it, and then tests/unit/test_docs_commands.py checks what can be
    known without: that files exist, and that programs know the options."""

    page: str
    matches: str
    why: str
    test: str = ""

    def has(self, command: Command) -> bool:
        return command.page == self.page and bool(re.search(self.matches, command.bare))


CLUSTER = "containers/test_docs_commands.py"
STAYS = "e2e/test_docs_servers.py"
BACKUP = "e2e/test_docs_backup.py"

REGISTER = (
    Elsewhere("README.md", r"^make demo$", "it installs Pando first", "e2e/test_demo.py"),
    Elsewhere("README.md", r"pando up$", "it stays", STAYS),
    Elsewhere("README.md", r"pando up --model llama", "needs 16 GB of weights"),
    Elsewhere("README.md", r"/shared/pando|tiny-base$|PASSWORD|pando-worker$", "it stays", STAYS),
    Elsewhere("README.md", r"^docker compose", "needs containers", CLUSTER),
    Elsewhere("docs/containers.md", r"profile gpu", "needs GPUs"),
    Elsewhere("docs/containers.md", r"^git pull$|^cp ", "changes the checkout"),
    Elsewhere("docs/containers.md", r"^PANDO_MODELS=", "is for a file .env"),
    Elsewhere("docs/containers.md", r"^docker compose", "needs containers", CLUSTER),
    Elsewhere("docs/doctor.md", r"^docker compose", "needs containers", CLUSTER),
    Elsewhere("docs/integrations.md", r"^tensorboard", "needs TensorBoard, which stays"),
    Elsewhere("docs/integrations.md", r"^pip install", "installs from the package index"),
    Elsewhere("docs/integrations.md", r"docker|^export", "needs containers, and MLflow's server"),
    Elsewhere("docs/operating.md", r"^(git pull|make setup)$", "changes the checkout"),
    Elsewhere("docs/operating.md", r"systemctl|var/lib/redis", "needs root and systemd"),
    Elsewhere("docs/operating.md", r"traces\.yml", "needs Jaeger's image"),
    Elsewhere("docs/operating.md", r"^docker compose", "needs containers", CLUSTER),
    Elsewhere("docs/operating.md", r"tar |^pando (down|up|recover)|^mkdir", "moves", BACKUP),
    Elsewhere("docs/performance.md", r"^python benchmarks/", "measures for minutes, on a GPU"),
    Elsewhere("docs/reliability.md", r"make (chaos|fuzz)", "takes from minutes to hours"),
    Elsewhere(
        "docs/scaling-out.md",
        r"docker|^export",
        "needs two machines; test_cluster.py does the like",
    ),
    Elsewhere("docs/scaling-out.md", r"pando-worker --every-gpu", "it stays", STAYS),
    Elsewhere("docs/scaling-out.md", r"^(useradd|install|cp|systemctl) ", "needs root and systemd"),
    Elsewhere("docs/sharing.md", r"^pando up", "it stays", STAYS),
)


def elsewhere(command: Command) -> Elsewhere | None:
    return next((entry for entry in REGISTER if entry.has(command)), None)


def typed_here(page: str) -> tuple[Command, ...]:
    """The commands of a page that are run as they stand, on a stack of this machine."""
    return tuple(each for each in commands(page) if elsewhere(each) is None)


def run_by(test: str) -> tuple[Command, ...]:
    """The commands of all pages that the register gives to one test, in the pages' order."""
    pages = dict.fromkeys(entry.page for entry in REGISTER)
    found = (command for page in pages for command in commands(page))
    return tuple(each for each in found if (entry := elsewhere(each)) and entry.test == test)


def is_server(script: Block) -> bool:
    """Whether a script serves until it is stopped: docs/webhooks.md's receiver, which
    tests/integration/test_webhooks.py runs."""
    return "serve_forever()" in script.text
