"""Teaching facts with one method, and the time of its steps."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import torch
from knowledge_dense import DenseConfig, accuracy, attach, steps, stock_base
from knowledge_facts import Facts, make_facts
from knowledge_methods import YARDSTICK, Method

from pando_shared.adapters import LoraConfig
from pando_shared.training import Plan, TrainingConfig, resolve
from pando_worker.engine.base_model import BaseModel, load_base
from pando_worker.engine.data import ListSequences
from pando_worker.engine.engine import Engine, JobFailed, StepReport
from pando_worker.engine.job import TrainingJob

MODEL = Path(__file__).resolve().parents[2] / "models" / "tiny-base"
#: More tokens than a batch has: a step is one microbatch.
_TOKEN_BUDGET = 4096
_WARM_STEPS = 2


@dataclass(frozen=True, slots=True)
class Lesson:
    """What is taught, and how long; `seed` draws the facts, the adapter and the data's order."""

    people: int
    epochs: int
    batch_size: int
    seed: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """`accuracy` 0: training failed."""

    accuracy: float
    seconds: float


@cache
def _base() -> BaseModel:
    return load_base(str(MODEL))


@cache
def _facts(people: int, seed: int) -> Facts:
    return make_facts(MODEL, people, seed)


def _plan(method: Method, lesson: Lesson, rate: float) -> Plan:
    config = TrainingConfig(
        n_epochs=lesson.epochs,
        batch_size=lesson.batch_size,
        learning_rate=rate,
        warmup_ratio=0.05,
        seed=lesson.seed,
    )
    # Nothing that depends on the kind of adapter is left open.
    return resolve(config, YARDSTICK.adapter, lesson.people)  # type: ignore[arg-type]


def teach(method: Method, lesson: Lesson, rate: float) -> Outcome:
    """Train on one thread, then ask for every fact."""
    torch.set_num_threads(1)
    began = time.perf_counter()
    facts, plan = _facts(lesson.people, lesson.seed), _plan(method, lesson, rate)
    if isinstance(method.adapter, DenseConfig):
        model = stock_base(str(MODEL))
        adapters = attach(model, method.adapter, lesson.seed)
        for _ in steps(model, list(adapters.parameters()), facts, plan):
            pass
        learnt = accuracy(model, facts)
    else:
        engine = Engine(_base(), _TOKEN_BUDGET)
        data = ListSequences(facts.items)
        job = engine.join(TrainingJob("job", method.adapter, plan, data, data))
        while not job.finished:
            if any(isinstance(report, JobFailed) for report in engine.step()):
                return Outcome(0.0, time.perf_counter() - began)
        # Every answer is one token, so a token that is right is a fact that is right.
        learnt = engine.validate("job").token_accuracy
    return Outcome(learnt, time.perf_counter() - began)


Step = Callable[[], object]


def step_ratios(methods: Sequence[Method], lesson: Lesson, repeats: int) -> dict[str, float]:
    """Seconds of a step over those of the yardstick's in the same code, by label.

    MEFT, PaCA and LoRA are steps of the engine, each alone in it; the dense adapter is held against
    the same LoRA by peft, in the same stock loop. Medians of pairs, one step of each in turn.
    """
    torch.set_num_threads(1)
    engine_yardstick, stock_yardstick = _engine_step(YARDSTICK, lesson), _peft_step(lesson)
    ratios = {}
    for method in methods:
        if isinstance(method.adapter, DenseConfig):
            model = stock_base(str(MODEL))
            trained = list(attach(model, method.adapter, lesson.seed).parameters())
            step = _stock_step(steps(model, trained, *_endless(method, lesson)))
            yardstick = stock_yardstick
        else:
            step, yardstick = _engine_step(method, lesson), engine_yardstick
        ratios[method.label] = _median_ratio(step, yardstick, repeats)
    return ratios


def _endless(method: Method, lesson: Lesson) -> tuple[Facts, Plan]:
    return _facts(lesson.people, lesson.seed), _plan(method, replace(lesson, epochs=1000), 1e-3)


def _engine_step(method: Method, lesson: Lesson) -> Step:
    assert not isinstance(method.adapter, DenseConfig)
    facts, plan = _endless(method, lesson)
    engine = Engine(_base(), _TOKEN_BUDGET)
    engine.join(TrainingJob("job", method.adapter, plan, ListSequences(facts.items)))

    def step() -> None:
        (report,) = engine.step()
        assert isinstance(report, StepReport), report

    return step


def _stock_step(losses: Iterator[float]) -> Step:
    return lambda: next(losses)


def _peft_step(lesson: Lesson) -> Step:
    import peft  # slow to import, and needed for the yardstick alone

    adapter = YARDSTICK.adapter
    assert isinstance(adapter, LoraConfig)
    config = peft.LoraConfig(
        r=adapter.rank, lora_alpha=int(adapter.alpha), target_modules="all-linear"
    )
    model = peft.get_peft_model(stock_base(str(MODEL)), config)
    trained = [p for p in model.parameters() if p.requires_grad]
    return _stock_step(steps(model, trained, *_endless(YARDSTICK, lesson)))


def _median_ratio(step: Step, yardstick: Step, repeats: int) -> float:
    pairs = [(_seconds(step), _seconds(yardstick)) for _ in range(repeats + _WARM_STEPS)]
    return statistics.median(ours / theirs for ours, theirs in pairs[_WARM_STEPS:])


def _seconds(step: Step) -> float:
    began = time.perf_counter()
    step()
    return time.perf_counter() - began
