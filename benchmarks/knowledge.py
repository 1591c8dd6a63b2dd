"""How many facts each method holds, at which GPU bytes and which step time, on the tiny base.

    python benchmarks/knowledge.py [--json FILE] [--cache-bytes N] [--seeds N]
    python benchmarks/knowledge.py --sweep benchmarks/results/knowledge_rates.json
    python benchmarks/knowledge.py --table benchmarks/results/knowledge.json

Seeded facts about invented people, eight a person, are taught to `models/tiny-base`, once a few and
once many; then every fact is asked for. All methods see the same sequences in the same order, as
often, with AdamW, a linear schedule and the clip at 1. LoRA, PaCA and MEFT train in Pando's engine;
the dense parallel adapter is a few lines beside a stock transformers model. The learning rate is
each method's best of those that `--sweep` tried, with facts that are then not used again. A step's
time is measured alone, on one thread, and told as a multiple of LoRA's at rank 8 in the same code.
`--table` prints what a result says as Markdown.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent / "support"))

import torch
from knowledge_methods import FAMILIES, METHODS, Method, gpu_bytes, parameters
from knowledge_tables import markdown, printed
from knowledge_training import MODEL, Lesson, Outcome, step_ratios, teach
from reporting import facts, progress, write

from pando_shared.catalogue import read_base_model
from pando_shared.memory import MEFT_CACHE_BYTES

RATES = Path(__file__).parent / "results" / "knowledge_rates.json"
LESSONS = {
    "few": Lesson(people=32, epochs=40, batch_size=8, seed=0),
    "many": Lesson(people=384, epochs=20, batch_size=24, seed=0),
}
SMOKE_LESSONS = {
    "few": Lesson(people=4, epochs=1, batch_size=2, seed=0),
    "many": Lesson(people=8, epochs=1, batch_size=4, seed=0),
}


@dataclass(frozen=True, slots=True)
class Task:
    """One training to do; processes pass it on."""

    method: Method
    data: str
    lesson: Lesson
    rate: float


def _do(task: Task) -> Outcome:
    return teach(task.method, task.lesson, task.rate)


def _done(tasks: Sequence[Task], processes: int) -> Iterator[tuple[Task, Outcome]]:
    """Tasks with their outcomes, in order; a core each while there are as many."""
    with _mapper(processes) as run:
        for task, outcome in zip(tasks, run(_do, tasks), strict=True):
            progress(
                f"{task.method.label:28} {task.data:5} seed {task.lesson.seed} rate {task.rate:g}: "
                f"{outcome.accuracy:.3f} in {outcome.seconds:.0f} s"
            )
            yield task, outcome


@contextmanager
def _mapper(processes: int) -> Iterator[Any]:
    if processes == 1:
        yield map
        return
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=spawn) as pool:
        yield pool.map


def sweep(
    lessons: dict[str, Lesson], known: Sequence[dict[str, Any]], processes: int
) -> list[dict[str, Any]]:
    """Every rate of every method, with facts of seed 0; those that are known are kept."""
    have = {(row["label"], row["data"], row["rate"]) for row in known}
    tasks = [
        Task(method, data, lesson, rate)
        for data, lesson in lessons.items()
        for method in METHODS
        for rate in method.rates
        if (method.label, data, rate) not in have
    ]
    return [
        *known,
        *(
            {
                "label": task.method.label,
                "data": task.data,
                "rate": task.rate,
                "accuracy": outcome.accuracy,
            }
            for task, outcome in _done(tasks, processes)
        ),
    ]


def best_rates(rows: Sequence[dict[str, Any]]) -> dict[tuple[str, str], float]:
    """The most accurate rate by (label, lesson); the lowest of equals."""
    ordered = sorted(rows, key=lambda row: (row["accuracy"], -row["rate"]))
    return {(row["label"], row["data"]): row["rate"] for row in ordered}


def study(
    methods: Sequence[Method],
    lessons: dict[str, Lesson],
    seeds: int,
    repeats: int,
    cache_bytes: int,
    processes: int,
) -> list[dict[str, Any]]:
    """A row a method."""
    rates = best_rates(json.loads(RATES.read_text()))
    tasks = [
        Task(method, data, replace(lesson, seed=seed), rates[method.label, data])
        for seed in range(1, seeds + 1)
        for data, lesson in lessons.items()
        for method in methods
    ]
    learnt: dict[tuple[str, str], list[float]] = {}
    for task, outcome in _done(tasks, processes):
        learnt.setdefault((task.method.label, task.data), []).append(outcome.accuracy)
    progress("timing steps")
    ratios = step_ratios(methods, lessons["many"], repeats)
    base = read_base_model("tiny", MODEL)
    return [
        {
            "family": method.family,
            "label": method.label,
            "parameters": parameters(base, method.adapter),
            "gpu_bytes": gpu_bytes(base, method.adapter, cache_bytes),
            "gpu_bytes_without_cache": gpu_bytes(base, method.adapter, 0),
            "step_ratio": ratios[method.label],
            **{
                data: {
                    "rate": rates[method.label, data],
                    "accuracies": learnt[method.label, data],
                    "mean": statistics.mean(learnt[method.label, data]),
                }
                for data in lessons
            },
        }
        for method in methods
    ]


def first_of_each_family() -> list[Method]:
    return [next(m for m in METHODS if m.family == family) for family in FAMILIES]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="write the result here")
    parser.add_argument(
        "--sweep", type=Path, help="try the rates that are not in this file, add them, and end"
    )
    parser.add_argument("--table", type=Path, help="print this result as Markdown, and end")
    parser.add_argument("--seeds", type=int, default=2, help="facts, adapters and orders drawn")
    parser.add_argument("--cache-bytes", type=int, default=MEFT_CACHE_BYTES)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--smoke", action="store_true", help="tiny sizes: does it run?")
    options = parser.parse_args()
    if options.table:
        print(markdown(json.loads(options.table.read_text())))
        return
    lessons = SMOKE_LESSONS if options.smoke else LESSONS
    if options.sweep:
        known = json.loads(options.sweep.read_text()) if options.sweep.exists() else []
        rows = sweep(lessons, known, options.processes)
        options.sweep.write_text("[\n" + ",\n".join(f" {json.dumps(r)}" for r in rows) + "\n]\n")
        return
    result = {
        "facts": facts(torch.device("cpu")),
        "cache_bytes": options.cache_bytes,
        "lessons": {
            data: {
                "people": lesson.people,
                "epochs": lesson.epochs,
                "batch_size": lesson.batch_size,
            }
            for data, lesson in lessons.items()
        },
        "rows": study(
            first_of_each_family() if options.smoke else METHODS,
            lessons,
            1 if options.smoke else options.seeds,
            2 if options.smoke else 15,
            options.cache_bytes,
            1 if options.smoke else options.processes,
        ),
    }
    print(printed(result))
    write(options.json, result)


if __name__ == "__main__":
    main()
