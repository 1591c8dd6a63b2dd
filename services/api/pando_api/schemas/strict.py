"""The base of everything a request may say: no unknown keys, no silent conversions."""

from __future__ import annotations

import difflib
from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator

from pando_shared.errors import InvalidRequest


class StrictModel(BaseModel):
    """Refuses an unknown key by name, and says which known one it resembles."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False, frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _name_unknown_keys(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        for key in values:
            if key not in cls.model_fields:
                near = difflib.get_close_matches(str(key), cls.model_fields, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                allowed = ", ".join(sorted(cls.model_fields))
                raise InvalidRequest(
                    f"unknown parameter {key!r}{hint} (known: {allowed})", param=str(key)
                )
        return values

    def given(self) -> dict[str, Any]:
        """Fields that were set to something other than null."""
        return {
            name: getattr(self, name)
            for name in type(self).model_fields
            if name in self.model_fields_set and getattr(self, name) is not None
        }
