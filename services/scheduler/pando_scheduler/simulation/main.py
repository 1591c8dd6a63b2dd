"""The simulator's command, from arguments to exit code."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pando_scheduler.simulation.backend import Backend
from pando_scheduler.simulation.drawing import load_matplotlib
from pando_scheduler.simulation.options import Options, parse
from pando_scheduler.simulation.plots import draw_all
from pando_scheduler.simulation.progress import Progress
from pando_scheduler.simulation.study import answer, answers_json, answers_text, compare
from pando_scheduler.simulation.table import table, to_json
from pando_shared.errors import InvalidRequest, PandoError

_FAILED, _USAGE, _INTERRUPTED = 1, 2, 130


def main(
    arguments: Sequence[str],
    make: Callable[[Options], Backend],
    bases: Sequence[str],
    policies: Mapping[str, str],
) -> int:
    """Run a command line. `make` builds what simulates; `bases` are the default ones, `policies`
    all that there are, each with what it is."""
    options = parse(arguments, bases, policies)
    try:
        # Hours of simulation must not end in a file that cannot be written.
        _check_outputs(options)
        return _run(options, make(options), Progress(sys.stderr))
    except KeyboardInterrupt:
        return _INTERRUPTED
    except PandoError as error:
        print(f"error: {error.message}", file=sys.stderr)
        return _USAGE if isinstance(error, InvalidRequest) else _FAILED
    except BrokenPipeError:
        # The reader (`| head`) has had enough. Nothing more may be written, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _run(options: Options, backend: Backend, progress: Progress) -> int:
    if options.question is not None:
        wish = options.question
        answers = answer(options, wish, backend, progress)
        text = answers_text(wish, answers, options.at_most)
        _show(options.json, text, answers_json(wish, answers))
        return _FAILED if any(one.capacity.workers is None for one in answers) else 0
    runs = compare(options, backend, progress)
    _show(options.json, table(runs), to_json(runs))
    if options.plots is not None:
        for file in draw_all(runs, options.plots):
            print(file, file=sys.stderr)
    return 0


def _show(target: str | None, text: str, document: dict[str, Any]) -> None:
    written = json.dumps(document, indent=2, allow_nan=False)
    if target == "-":
        print(written)
        return
    print(text)
    if target is not None:
        Path(target).write_text(written + "\n")


def _check_outputs(options: Options) -> None:
    if options.plots is not None:
        load_matplotlib()
        _make_folder(options.plots, "plots")
    if options.json not in (None, "-"):
        target = Path(options.json)
        _make_folder(target.parent, "json")
        if target.is_dir():
            raise InvalidRequest(f"--json {target} is a folder; name a file", param="json")


def _make_folder(folder: Path, option: str) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidRequest(
            f"--{option}: cannot make the folder {folder}: {error.strerror}", param=option
        ) from error
