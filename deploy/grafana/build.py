"""Write the dashboards' JSON: `python deploy/grafana/build.py`, after a change beside this file."""

from __future__ import annotations

import json
from pathlib import Path

from fleet import FLEET
from job import JOB
from panels import Dashboard

FOLDER = Path(__file__).parent / "dashboards"
FILES = {"fleet.json": FLEET, "job.json": JOB}


def text(dashboard: Dashboard) -> str:
    return json.dumps(dashboard.json(), indent=2) + "\n"


if __name__ == "__main__":
    for name, dashboard in FILES.items():
        (FOLDER / name).write_text(text(dashboard))
