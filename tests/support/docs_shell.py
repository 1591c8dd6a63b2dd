"""Somebody with a shell and a stack on this machine, who types what a page says.

What a page must make up, such as the id of a job, is replaced by what there is, by `Reader.real`:
the words in it are those that pages use, and stand for the same in all of them.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from docs_commands import ROOT, Block, Command
from local_stack import ELSEWHERE, Done, LocalStack

#: Of the checkout, what a reader has around who has cloned it.
CHECKOUT = ("benchmarks", "deploy", "examples", "models")
#: Seconds after which a command that should have ended counts as stuck.
PATIENCE_SECONDS = 240
DATA = ROOT / "examples" / "demo" / "pirate.jsonl"


@dataclass
class Server:
    """A command that stays. `code` is its exit status, once it has ended."""

    log: Path
    code: int | None = None

    def printed(self) -> str:
        return self.log.read_text()


@dataclass
class Reader:
    """`folder` is where they work, with data of their own; `stack` is in their `~/.pando`.

    Variables and the folder last from one command to the next, as in a shell, until `forget`.
    """

    folder: Path
    stack: LocalStack
    receiver: str = ""
    variables: Path = field(init=False)

    def __post_init__(self) -> None:
        self.variables = self.folder.parent / "variables"
        self.folder.mkdir(parents=True, exist_ok=True)
        for name in CHECKOUT:
            (self.folder / name).symlink_to(ROOT / name)
        (self.folder / ".venv").symlink_to(sys.prefix)
        shutil.copy(ROOT / "examples" / "policy.toml", self.folder)
        lines = DATA.read_text().splitlines(keepends=True)
        (self.folder / "train.jsonl").write_text("".join(lines[:24]))
        (self.folder / "valid.jsonl").write_text("".join(lines[24:32]))
        _write_traces(self.folder)
        self.forget()

    def forget(self) -> None:
        """A new shell, and every worker at work."""
        self.variables.write_text("")
        if self.stack.up:
            self.stack.pando("drain", self.worker(), "--undo")

    @property
    def environment(self) -> dict[str, str]:
        """Of a shell in which nothing was set for Pando."""
        clean = {k: v for k, v in os.environ.items() if k not in (*ELSEWHERE, "PANDO_HOME")}
        path = f"{Path(sys.prefix) / 'bin'}{os.pathsep}{os.environ['PATH']}"
        return {**clean, "HOME": str(self.stack.home.parent), "PATH": path, "OMP_NUM_THREADS": "1"}

    def type(self, command: Command) -> Done:
        """Exit status and output of a command as the page has it."""
        script = (
            f"set -a; . {self.variables}; set +e -o pipefail; cd {self.folder}\n"
            f"trap 'export -p > {self.variables}' EXIT\n{self.real(command.text)}\n"
        )
        return self._run(["bash", "-c", script])

    @contextmanager
    def serving(self, *commands: Command) -> Iterator[Server]:
        """What stays, until Ctrl-C is pressed at the end."""
        script = self.real("\n".join(command.text for command in commands))
        log = self.folder.parent / f"{Path(commands[0].page).stem}-{commands[0].line}.log"
        with log.open("w") as stream:
            server = subprocess.Popen(
                ["bash", "-c", script],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        told = Server(log)
        try:
            yield told
        finally:
            os.killpg(server.pid, signal.SIGINT)
            told.code = server.wait(PATIENCE_SECONDS)

    def run(self, scripts: tuple[Block, ...]) -> Done:
        """A page's scripts, one going on from the other."""
        told = (f"# {each.page}:{each.line}\n{each.text}" for each in scripts)
        return self._run([sys.executable, "-c", self.real("\n".join(told))])

    def _run(self, command: list[str]) -> Done:
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def real(self, text: str) -> str:
        for made_up, real in self._stands_for().items():
            text = re.sub(made_up, lambda _, real=real: real(), text)  # type: ignore[misc]
        return text

    def _stands_for(self) -> Mapping[str, Callable[[], str]]:
        """What is not on the page is not looked up."""
        return {
            r"http://(127\.0\.0\.1|pando\.example):8000": lambda: str(self.stack.up["url"]),
            r"sk-pando-…": lambda: str(self.stack.up["api_key"]),
            # Port 8000 may be another's.
            r"\bpando up\b": lambda: "pando up --port 0",
            r"/path/to/tiny-base": lambda: str(ROOT / "models" / "tiny-base"),
            r"redis://:PASSWORD@[\w.]+:\w+/0": self.stack.redis_url,
            r"file:///(shared|var/lib)/pando/storage": lambda: f"file://{self.stack.home}/storage",
            r"/shared/pando\b|/data/pando\b": lambda: str(self.stack.home),
            r"https://example\.com/pando": lambda: self.receiver,
            r"ftjob-3f9c0e71d2a84b5c9e6f1a20|\bJOB\b": lambda: str(self.job("lora")["id"]),
            r"\bNAME\b": lambda: str(self.job("lora")["fine_tuned_model"]),
            r"\bWORKER\b": self.worker,
            r"\bKEY_ID\b": lambda: str(self._newest("keys", "list")["id"]),
            r"\bSWEEP\b": lambda: str(self._newest("sweeps")["id"]),
            r"\bWEBHOOK\b": lambda: str(self._newest("webhooks", "list")["id"]),
            # A GPU of the page's reader is the processor here.
            r'device_map="cuda"': lambda: 'device_map="cpu"',
            r"\bBASE\b": lambda: repr(str(ROOT / "models" / "tiny-base")),
            r'"PATH"': lambda: repr(str(self.adapter("meft"))),
        }

    def worker(self) -> str:
        return str(self.stack.pando("workers", "--json").json["data"][0]["id"])

    def job(self, method: str) -> dict[str, Any]:
        """The reader's first one of a method, which has succeeded."""
        kept = self.folder.parent / f"{method}.json"
        if not kept.exists():
            spec = ("--model", "tiny", "--adapter", method, "--max-steps", "2", "--wait", "--json")
            done = self.stack.pando("submit", str(self.folder / "train.jsonl"), *spec)
            assert done.code == 0, done.out + done.err
            kept.write_text(done.out)
        return dict(json.loads(kept.read_text()))

    def adapter(self, method: str) -> Path:
        """A folder with what that job trained."""
        folder = self.folder / f"adapter-{method}"
        if not folder.exists():
            done = self.stack.pando("download", self.job(method)["id"], "-o", str(folder))
            assert done.code == 0, done.out + done.err
        return folder

    def _newest(self, *listing: str) -> dict[str, Any]:
        """The last that came of what a command lists, of tenant acme where tenants are told."""
        found = self.stack.pando(*listing, "--json").json["data"]
        own = [each for each in found if each.get("tenant", "acme") == "acme"]
        return dict(max(own, key=lambda each: each["created_at"]))


def _write_traces(folder: Path) -> None:
    """What `pando simulate` reads, in the columns of the files that the page names."""
    days = [f"2017-10-{9 + hour // 24:02}" for hour in range(0, 120, 3)]
    rows = [
        f"{day} {hour % 24:02}:10:00,{900 + hour * 60}.0,1,900.0,tenant{hour % 3}"
        for hour, day in enumerate(days)
    ]
    header = "timestamp,duration,num_gpus,gpu_time,cluster"
    (folder / "philly.csv").write_text("\n".join([header, *rows]) + "\n")
    lengths = [f"2023-11-16 18:15:{i:02}.0,{100 + 40 * i},{20 + 5 * i}" for i in range(60)]
    header = "TIMESTAMP,ContextTokens,GeneratedTokens"
    (folder / "azure_llm_conv.csv").write_text("\n".join([header, *lengths]) + "\n")
