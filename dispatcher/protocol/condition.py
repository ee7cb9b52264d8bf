"""The condition of a message: which topics an app instance must follow to get it (v1 wire rules, section 5).

    condition = expr
    expr      = unary { ("&&" | "||") unary }     ; no precedence: strictly left to right
    unary     = [ "!" ] primary
    primary   = "(" expr ")" | topicRef
    topicRef  = "'" topicName "'" SP "in" SP "topics"

`'a' in topics || 'b' in topics && 'c' in topics` therefore means (a or b) and c. A condition is read into steps for a
stack machine, so that neither reading nor evaluating recurses: what a producer sends may be nested at will.
"""

from __future__ import annotations

import re
from collections.abc import Container
from enum import Enum
from functools import lru_cache

import msgspec

TOPICS_LIMIT = 5
"""Topic references in one condition. An older reference page says two operators; the newer guide, five topics."""

TOPIC_NAME = re.compile(r"[a-zA-Z0-9\-_.~%]{1,900}", re.ASCII)
"""A topic's name, in full."""

_KEPT_LENGTH = 500
_SPACE = re.compile(r"[ \t\r\n]*")
# Keywords in any case, as the reference of the legacy protocols has them; names are told apart by case.
_REFERENCE = re.compile(r"'([^']*)'[ \t\r\n]+in[ \t\r\n]+topics(?![a-zA-Z0-9_])", re.IGNORECASE)
_QUOTED = re.compile(r"'([^']*)'")
_WORD = re.compile(r"\w{1,20}|[&|]{1,2}")


class Step(Enum):
    """What the stack machine does beside pushing whether a topic is followed."""

    NOT = "!"
    AND = "&&"
    OR = "||"


class Condition(msgspec.Struct, frozen=True):
    """A condition that FCM can evaluate.

    Attributes:
        steps: topic names and operators in the order of evaluation, operands first.
    """

    steps: tuple[str | Step, ...]

    @property
    def topics(self) -> tuple[str, ...]:
        """The topics it names, in its order, as often as it names them."""
        return tuple(step for step in self.steps if isinstance(step, str))

    def evaluate(self, topics: Container[str]) -> bool:
        """Whether it holds for an app instance that follows these topics."""
        stack: list[bool] = []
        for step in self.steps:
            if isinstance(step, str):
                stack.append(step in topics)
            elif step is Step.NOT:
                stack.append(not stack.pop())
            else:
                right, left = stack.pop(), stack.pop()
                stack.append(left and right if step is Step.AND else left or right)
        return stack.pop()


class Misread(msgspec.Struct, frozen=True):
    """Where a condition breaks the grammar.

    Attributes:
        found: what stands there, with its place.
        allowed: what may stand there.
    """

    found: str
    allowed: str


_OPERAND = "a topic as 'news' in topics, ! or ("


class _Level:
    """One level of parentheses while it is read: what is still to be applied to the next operand."""

    __slots__ = ("negated", "opened_at", "operator")

    def __init__(self, opened_at: int) -> None:
        self.opened_at = opened_at
        self.operator: Step | None = None
        self.negated = False


def parse(text: str) -> Condition | Misread:
    """Reads a condition.

    Args:
        text: the value of `condition`.

    Returns:
        The condition; or the first thing in it that the grammar does not allow.
    """
    return _known(text) if len(text) <= _KEPT_LENGTH else _parse(text)


def _parse(text: str) -> Condition | Misread:
    steps: list[str | Step] = []
    levels = [_Level(-1)]
    topics = 0
    at = _skip(text, 0)
    while True:
        # An operand.
        level = levels[-1]
        if text.startswith("!", at) and not level.negated:
            level.negated = True
            at = _skip(text, at + 1)
            continue
        if text.startswith("(", at):
            levels.append(_Level(at))
            at = _skip(text, at + 1)
            continue
        reference = _REFERENCE.match(text, at)
        if reference is None:
            return _no_reference(text, at, negated=level.negated)
        name = reference[1]
        if not TOPIC_NAME.fullmatch(name):
            return _bad_name(name, at)
        topics += 1
        if topics > TOPICS_LIMIT:
            return Misread(f"a sixth topic {_place(at)}", f"FCM takes at most {TOPICS_LIMIT} in a condition")
        steps.append(name)
        _apply(steps, level)
        at = _skip(text, reference.end())
        # What closes behind it.
        while text.startswith(")", at) and len(levels) > 1:
            levels.pop()
            _apply(steps, levels[-1])
            at = _skip(text, at + 1)
        # An operator, or the end.
        if at == len(text):
            if len(levels) > 1:
                return Misread(f"( {_place(levels[-1].opened_at)} that nothing closes", "close it with )")
            return Condition(tuple(steps))
        operator = text[at : at + 2]
        if operator not in ("&&", "||"):
            allowed = "&&, || or )" if len(levels) > 1 else "&& or ||, or the end"
            return Misread(_seen(text, at), f"here stands {allowed}")
        levels[-1].operator = Step(operator)
        at = _skip(text, at + 2)


# A campaign asks for the same one again and again.
_known = lru_cache(256)(_parse)


def _apply(steps: list[str | Step], level: _Level) -> None:
    """Completes an operand of this level: what stands before it holds at once, for there is no precedence."""
    if level.negated:
        steps.append(Step.NOT)
        level.negated = False
    if level.operator is not None:
        steps.append(level.operator)
        level.operator = None


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


def _no_reference(text: str, at: int, *, negated: bool) -> Misread:
    quoted = _QUOTED.match(text, at)
    if quoted is not None:
        at = _skip(text, quoted.end())
        return Misread(_seen(text, at), f"behind '{quoted[1][:40]}' stands, after a space: in topics")
    if text.startswith("'", at):
        return Misread(f"' {_place(at)} that nothing closes", "close the topic's name with '")
    if text.startswith('"', at):
        return Misread(_seen(text, at), "put topics in single quotes, as 'news' in topics")
    allowed = "a topic as 'news' in topics, or (" if negated else _OPERAND
    return Misread(_seen(text, at), f"here stands {allowed}")


def _bad_name(name: str, at: int) -> Misread:
    shown = f"{name[:40]}..." if len(name) > 43 else name
    mend = "a topic has 1 to 900 characters of a-z A-Z 0-9 - _ . ~ %"
    if name.startswith("/topics/"):
        mend = "leave out /topics/: the bare name stands in quotes"
    return Misread(f"the topic '{shown}' {_place(at)}", mend)


def _seen(text: str, at: int) -> str:
    if at >= len(text):
        return f"the end {_place(at)}"
    word = _WORD.match(text, at)
    seen = word[0] if word else text[at]
    return f"{seen if seen.isprintable() else repr(seen)} {_place(at)}"


def _place(at: int) -> str:
    return f"at character {at + 1}"
