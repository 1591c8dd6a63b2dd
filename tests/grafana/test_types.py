"""The dashboards have the keys and types that Grafana's own schema has."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
DASHBOARDS = HERE.parents[1] / "deploy" / "grafana" / "dashboards"
OPTIONS = "--noEmit --strict --skipLibCheck --module nodenext --moduleResolution nodenext"

pytestmark = pytest.mark.skipif(shutil.which("npm") is None, reason="needs Node.js with npm")


@pytest.fixture(scope="module")
def checker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the TypeScript compiler and Grafana's types."""
    folder = tmp_path_factory.mktemp("grafana")
    for name in ("package.json", "package-lock.json", "wire.ts"):
        shutil.copy(HERE / name, folder)
    command = ["npm", "ci", "--no-audit", "--no-fund"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"npm cannot install Grafana's types: {done.stderr.strip()[-300:]}")
    return folder


def complaints(checker: Path, dashboard: dict[str, Any]) -> str:
    """What the compiler says of a dashboard, and of what its panels leave untyped there."""
    lines = [
        'import type { Dashboard, Drawing, GraphOptions } from "./wire.js";',
        f"export const dashboard = {json.dumps(dashboard)} satisfies Dashboard;",
    ]
    for panel in dashboard["panels"]:
        if panel["type"] == "timeseries":
            drawing = panel["fieldConfig"]["defaults"]["custom"]
            lines.append(f"({json.dumps(drawing)}) satisfies Drawing;")
            lines.append(f"({json.dumps(panel['options'])}) satisfies GraphOptions;")
    (checker / "checked.ts").write_text("\n".join(lines))
    compiler = ["npx", "--no-install", "tsc", *OPTIONS.split(), "checked.ts"]
    done = subprocess.run(compiler, cwd=checker, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


@pytest.mark.parametrize("name", ["fleet.json", "job.json"])
def test_a_dashboard_has_grafanas_types(checker: Path, name: str) -> None:
    assert complaints(checker, json.loads((DASHBOARDS / name).read_text())) == ""


def test_what_is_misspelt_is_found(checker: Path) -> None:
    dashboard = json.loads((DASHBOARDS / "job.json").read_text())
    dashboard["panels"][1]["fieldConfig"]["defaults"]["thresholds"]["mode"] = "absolut"
    assert '"absolut"' in complaints(checker, dashboard)
    assert '"titel"' in complaints(checker, {"titel": "Jobs", "panels": []})
