"""Targets as operators write and read them."""

from __future__ import annotations

from dispatcher.errors import SettingsError
from dispatcher.model import KIND_LETTERS, Target, TargetKind
from dispatcher.telemetry.logs import short

_SHORT = 40

_SENT_TO: tuple[TargetKind, ...] = ("token", "topic", "condition", "fid", "group")
KINDS: dict[str, TargetKind] = {letter: kind for kind, letter in KIND_LETTERS.items()}
"""Kinds by the letter that `Target.key` begins with."""


def target_of(text: str) -> Target:
    """The target that an operator names: `topic:news`, or a token as it is.

    Raises:
        SettingsError: nothing stands behind the kind.
    """
    kind, colon, value = text.partition(":")
    for known in _SENT_TO:
        if colon and kind == known:
            if not value:
                raise SettingsError(f'--target: found "{text}"; write it as {kind}:value')
            return Target(known, value)
    return Target("token", text)


def named(target: Target) -> str:
    """A target for people; tokens only begun."""
    secret = target.kind not in ("topic", "condition", "service") or len(target.value) > _SHORT
    return f"{target.kind} {short(target.value) if secret else target.value}"
