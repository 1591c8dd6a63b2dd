"""Options that several commands share, written once as a dataclass.

A command that takes a parameter of such a class gets one option per field:

    @dataclass(frozen=True)
    class Connection:
        url: Annotated[str | None, typer.Option(help="...")] = None

    def show(job_id: str, connection: Connection) -> None: ...

becomes `pando show JOB_ID [--url URL]` once wrapped by `expanded`.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import Any, get_type_hints


def expanded(command: Callable[..., None]) -> Callable[..., None]:
    """The same command with every dataclass parameter replaced by its fields, for typer to read."""
    hints = get_type_hints(command, include_extras=True)
    plain: list[inspect.Parameter] = []
    groups: dict[str, tuple[type, list[str]]] = {}
    for parameter in inspect.signature(command).parameters.values():
        annotation = hints[parameter.name]
        if not (isinstance(annotation, type) and dataclasses.is_dataclass(annotation)):
            plain.append(_keyword(parameter.name, annotation, parameter.default))
            continue
        fields = dataclasses.fields(annotation)
        field_hints = get_type_hints(annotation, include_extras=True)
        groups[parameter.name] = annotation, [field.name for field in fields]
        plain.extend(_keyword(f.name, field_hints[f.name], f.default) for f in fields)

    @functools.wraps(command)
    def wrapper(**values: Any) -> None:
        for name, (cls, names) in groups.items():
            values[name] = cls(**{field: values.pop(field) for field in names})
        command(**values)

    wrapper.__signature__ = inspect.Signature(plain)  # type: ignore[attr-defined]
    wrapper.__annotations__ = {parameter.name: parameter.annotation for parameter in plain}
    return wrapper


def _keyword(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    empty = inspect.Parameter.empty
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=empty if default is dataclasses.MISSING else default,
        annotation=annotation,
    )
