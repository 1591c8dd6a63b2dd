"""How a test reaches a running stack, in this process or handed on to another one."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True)
class Stack:
    """`url` ends before /v1; `base` is a model it offers, with a chat template."""

    url: str
    api_key: str
    base: str

    @classmethod
    def from_environment(cls) -> Self | None:
        """The stack that a parent process passed on, if one did."""
        url = os.environ.get("PANDO_E2E_URL")
        if url is None:
            return None
        return cls(url, os.environ["PANDO_E2E_API_KEY"], os.environ["PANDO_E2E_BASE"])

    def environment(self) -> dict[str, str]:
        return {
            "PANDO_E2E_URL": self.url,
            "PANDO_E2E_API_KEY": self.api_key,
            "PANDO_E2E_BASE": self.base,
        }
