"""Answers that depend on what is asked about and not on whose it is: worked out once within one assessment."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TypeVar

Asked = TypeVar("Asked", bound=Hashable)
Answer = TypeVar("Answer")


class AskedOnce(dict[Asked, Answer]):
    """What a function answers, by the argument's value; it lives as long as what made it: one assessment."""

    def __init__(self, ask: Callable[[Asked], Answer]) -> None:
        """Ask `ask`, which must answer equal arguments alike."""
        super().__init__()
        self._ask = ask

    def __missing__(self, asked: Asked) -> Answer:
        """Ask for the first time."""
        answer = self[asked] = self._ask(asked)
        return answer
