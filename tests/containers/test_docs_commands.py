"""What the pages tell to type where Docker runs Pando, typed as it stands there."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from compose_cluster import ROOT, ComposeCluster, compose_command, eventually
from compose_jobs import start, succeed, upload, wait_for_step, workers
from docs_commands import Command
from docs_register import CLUSTER, run_by

pytestmark = [pytest.mark.containers, pytest.mark.timeout(1500)]

BACKUP = "Back up, restore"
OTHERS = [each for each in run_by(CLUSTER) if each.section != BACKUP]


def type_in(cluster: ComposeCluster, folder: Path, command: Command) -> None:
    """Run a command of a page in an empty folder, for this cluster and its services."""
    worker = next(iter(workers(cluster)), "") if "WORKER" in command.text else ""
    text = command.text.replace("WORKER", worker)
    text = re.sub(
        r"^docker compose up [^#\n]*?(?=\s*(#|$))", rf"\g<0> {_left(cluster, text)}", text
    )
    # Nobody sits at a terminal here.
    text = re.sub(r"compose exec (?!-T)", "compose exec -T ", text)
    compose = " ".join(compose_command())
    script = text.replace("docker compose", f"{compose} --file {ROOT}/docker-compose.yml")
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", script],
        env={**os.environ, **cluster.variables},
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    # 1: a file changed while it was read, as files of jobs that train do.
    well = (0, 1) if "tar --create" in text else (0,)
    assert done.returncode in well, f"{command.place}: {text}\n{done.stdout}\n{done.stderr}"


def _left(cluster: ComposeCluster, text: str) -> str:
    """The services that `up` is to start where it names none: Grafana's image may not be here."""
    named: Sequence[str] = [
        name for name in cluster.services if re.search(rf" {name}\b(?!=)", text)
    ]
    return "" if named else " ".join(cluster.services)


def _await_workers(cluster: ComposeCluster) -> None:
    """`up` may have made containers anew."""
    eventually(cluster.ready, 120, "the API is not ready")
    eventually(lambda: workers(cluster), 120, "no worker is there")


@pytest.mark.parametrize("command", OTHERS, ids=lambda command: command.place)
def test_a_command_does_what_its_page_says(
    cluster: ComposeCluster, tmp_path: Path, command: Command
) -> None:
    _await_workers(cluster)
    try:
        type_in(cluster, tmp_path, command)
    finally:
        _await_workers(cluster)
        for worker in workers(cluster):
            cluster.inside("api", "pando", "drain", worker, "--undo")


def test_a_backup_restores_everything_on_an_empty_machine(
    cluster: ComposeCluster, tmp_path: Path
) -> None:
    save, *restore = (each for each in run_by(CLUSTER) if each.section == BACKUP)
    cluster.up()
    file = upload(cluster, "owl")
    done = succeed(cluster, start(cluster, file))
    halfway = start(cluster, file, epochs=8)
    wait_for_step(cluster, halfway, 10)
    type_in(cluster, tmp_path, save)
    cluster.compose("down", "--volumes")
    for command in restore:
        type_in(cluster, tmp_path, command)
    _await_workers(cluster)
    client = cluster.client  # of the key that was in the backup
    assert client.fine_tuning.jobs.retrieve(done.id).status == "succeeded"
    said = client.completions.create(model=done.fine_tuned_model, prompt="Who", max_tokens=4)
    assert said.choices[0].text
    succeed(cluster, halfway)
