"""`test_openai_client.py` with the newest client of every major version, each in its own folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from stack_access import Stack

pytestmark = pytest.mark.e2e

MODULE = Path(__file__).with_name("test_openai_client.py")


def install(requirement: str, folder: Path) -> None:
    """The client and what it needs, once; skips where no package index can be reached."""
    if (folder / "openai").is_dir():
        return
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run([*pip, "--target", folder, requirement], capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"cannot install {requirement}: {done.stderr.strip()[-300:]}")


@pytest.mark.parametrize("major", [1, 2, 3])
def test_the_newest_client_of_this_major_passes(
    major: int, stack: Stack, request: pytest.FixtureRequest
) -> None:
    cache = request.config.cache
    assert cache is not None
    folder = cache.mkdir(f"openai-{major}")
    install(f"openai>={major},<{major + 1}", folder)
    support = Path(__file__).parents[1] / "support"
    paths = os.pathsep.join([str(folder), str(support)])
    environment = {**os.environ, **stack.environment(), "PYTHONPATH": paths}
    check = f"import openai; assert openai.__version__.startswith('{major}.'), openai"
    subprocess.run([sys.executable, "-c", check], env=environment, check=True)
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", MODULE, f"--confcutdir={MODULE.parent}"],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout + run.stderr
