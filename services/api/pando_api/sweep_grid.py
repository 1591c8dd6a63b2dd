"""A sweep's grid: the points that are tried, and the create body that each stands for."""

from __future__ import annotations

import difflib
import json
import math
import random
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from pando_api.knobs import merged_knobs
from pando_api.schemas.job_create import JobCreate, Knobs
from pando_api.schemas.sweeps import MAX_TRIALS, SweepCreate
from pando_shared.errors import InvalidRequest
from pando_shared.training import TrainingConfig

Point = Mapping[str, Any]

#: In front of a knob's name in a trial's metadata.
GRID = "grid."
_ADAPTER = "adapter."
_KNOBS = frozenset(Knobs.model_fields) - {"group", "priority"} | {"seed"}
_MOST_METADATA, _LONGEST_METADATA = 16, 512
_NAMELESS = "trial"


def points(body: SweepCreate) -> list[Point]:
    """The points to try, in the grid's order: its last knob changes fastest.

    Raises:
        InvalidRequest: an unknown knob, a knob without or with equal values, or too many points.
    """
    for name, values in body.grid.items():
        _require_knob(name)
        _require_distinct(name, values)
    total = math.prod(len(values) for values in body.grid.values())
    wanted = body.samples
    if wanted is None and total > MAX_TRIALS:
        raise InvalidRequest(
            f"the grid has {total} points, and a sweep at most {MAX_TRIALS} trials: leave values "
            "out, or draw some of the points with samples",
            param="grid",
        )
    if wanted is not None and wanted > total:
        raise InvalidRequest(
            f"samples is {wanted}, and the grid has only {total} points", param="samples"
        )
    if wanted is None or wanted == total:
        return [_point(body.grid, index) for index in range(total)]
    draw = random.Random(TrainingConfig().seed if body.seed is None else body.seed)
    chosen: set[int] = set()
    while len(chosen) < wanted:
        chosen.add(draw.randrange(total))
    return [_point(body.grid, index) for index in sorted(chosen)]


def trial_bodies(body: SweepCreate, tried: Sequence[Point]) -> list[JobCreate]:
    """The create body of each point: its values, and a suffix and metadata that tell them.

    Raises:
        InvalidRequest: a value that its knob cannot take.
    """
    shared = body.model_dump(exclude_unset=True, exclude={"grid", "samples", "halving"})
    return [
        _trial(shared, merged_knobs(body).get("adapter") or {}, number, point)
        for number, point in enumerate(tried, 1)
    ]


def values_of(metadata: Mapping[str, str]) -> dict[str, Any]:
    """A trial's own values, as its metadata tells them; empty for a job of no sweep."""
    told = {key: text for key, text in metadata.items() if key.startswith(GRID)}
    return {key.removeprefix(GRID): _parsed(text) for key, text in told.items()}


def words(point: Point) -> str:
    return ", ".join(f"{name}={_text(value)}" for name, value in point.items())


def _trial(
    shared: Mapping[str, Any], adapter: Mapping[str, Any], number: int, point: Point
) -> JobCreate:
    own = {name: value for name, value in point.items() if not name.startswith(_ADAPTER)}
    given = own.get("adapter") or adapter
    if not isinstance(given, Mapping):
        raise InvalidRequest(
            f'grid.adapter holds whole adapters, such as {{"type": "paca"}}; got {given!r}',
            param=f"{GRID}adapter",
        )
    wanted = dict(given)
    wanted |= {
        name.removeprefix(_ADAPTER): value
        for name, value in point.items()
        if name.startswith(_ADAPTER)
    }
    if wanted:
        own["adapter"] = wanted
    own["suffix"] = f"{shared.get('suffix') or _NAMELESS}-{number}"
    own["metadata"] = _metadata(shared.get("metadata") or {}, point)
    try:
        return JobCreate.model_validate({**shared, **own})
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        raise InvalidRequest(
            f"{name}: {first['msg']}; got {first['input']!r}",
            param=f"{GRID}{name}" if name in point else name,
        ) from error


def _metadata(shared: Mapping[str, str], point: Point) -> dict[str, str]:
    if len(shared) + len(point) > _MOST_METADATA:
        raise InvalidRequest(
            f"metadata has {len(shared)} pairs and the grid {len(point)} knobs, which are told in "
            f"the trials' metadata too: {_MOST_METADATA} together at most",
            param="metadata",
        )
    told = {f"{GRID}{name}": _text(value) for name, value in point.items()}
    for key, text in told.items():
        if key in shared:
            raise InvalidRequest(
                f"metadata has {key!r}, where trials tell their own value", param="metadata"
            )
        if len(text) > _LONGEST_METADATA:
            raise InvalidRequest(
                f"{key}: a value is {len(text)} characters long as JSON; at most "
                f"{_LONGEST_METADATA} are kept",
                param=key,
            )
    return {**shared, **told}


def _require_knob(name: str) -> None:
    if name in _KNOBS or (name.startswith(_ADAPTER) and name != _ADAPTER):
        return
    near = difflib.get_close_matches(name, _KNOBS, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise InvalidRequest(
        f"grid has no knob {name!r}{hint} (it takes: {', '.join(sorted(_KNOBS))}, and "
        "adapter.rank and the like)",
        param="grid",
    )


def _require_distinct(name: str, values: Sequence[Any]) -> None:
    if not values:
        raise InvalidRequest(f"grid gives {name} no values", param=f"{GRID}{name}")
    if len({json.dumps(value, sort_keys=True) for value in values}) < len(values):
        raise InvalidRequest(
            f"grid gives {name} a value twice: {', '.join(map(_text, values))}",
            param=f"{GRID}{name}",
        )


def _point(grid: Mapping[str, Sequence[Any]], index: int) -> Point:
    found = {}
    for name in reversed(list(grid)):
        index, place = divmod(index, len(grid[name]))
        found[name] = grid[name][place]
    return {name: found[name] for name in grid}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
