"""What `dispatcher check` finds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec

_MANY = 8
"""Good findings of one part that are listed each; of more the number is told, so that all of it stays on one screen."""


class Finding(msgspec.Struct):
    """One thing that was looked at.

    Attributes:
        part: `redis`, `clock`, `credentials` or `endpoint`.
        text: what was found; if not ok, with its mend.
        ok: whether it is as it should be.
        caution: it will work, and somebody should look at it all the same.
    """

    part: str
    text: str
    ok: bool = True
    caution: bool = False


def as_lines(findings: Sequence[Finding]) -> list[str]:
    """Findings for people: every one that is not good, and of many good ones of a part their number."""
    good = Counter(finding.part for finding in findings if finding.ok and not finding.caution)
    lines: list[str] = []
    folded: set[str] = set()
    for finding in findings:
        if not finding.ok:
            lines.append(f"FAIL {finding.part}: {finding.text}")
        elif finding.caution:
            lines.append(f"warn {finding.part}: {finding.text}")
        elif good[finding.part] <= _MANY:
            lines.append(f"ok   {finding.part}: {finding.text}")
        elif finding.part not in folded:
            folded.add(finding.part)
            lines.append(f"ok   {finding.part}: {good[finding.part]} times well; --json lists them")
    return lines
