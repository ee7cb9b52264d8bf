"""Scripted faults: rules that decide which request or message goes wrong, and how.

The first rule that fires wins. Chance comes from one seeded generator, so the same requests in the same order
meet the same faults; a `share` of targets is chosen by a hash and stays the same whatever the order.
"""

from __future__ import annotations

from hashlib import blake2b
from random import Random
from typing import Annotated, Literal

import msgspec

from dispatcher.emulator.refusals import REFUSALS

Wire = Literal["", "batch", "v1", "legacy", "xmpp", "oauth", "iid"]
Share = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
Seconds = Annotated[float, msgspec.Meta(ge=0.0)]
Count = Annotated[int, msgspec.Meta(ge=0)]
HttpStatus = Annotated[int, msgspec.Meta(ge=200, le=599)]


class Rule(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """When something goes wrong, and what.

    Conditions (all must hold; an empty one holds always):
        per: whether it looks at each message, or at each HTTP request as a whole (then `project`, `kind`,
            `target`, `prefix` and `share` are not looked at).
        wire: the endpoint: `batch`, `v1`, `legacy`, `xmpp` (whose requests are logins), `oauth` (requests only), or `iid`: all management services, whose tokens
            are looked at like messages.
        path: what the path of the request begins with; for rules that look at requests.
        project, kind, target: equal.
        prefix: what the target begins with.
        share: of all targets, chosen by hash: the same ones every time.
        rate: chance of each message or request.
        skip: so many matches pass before it begins.
        times: it fires at most so often.

    Effects:
        error: a refusal by name (see `refusals.REFUSALS`), in FCM's own JSON. With `legacy`, `xmpp` and `iid` any
            text: the error of a recipient or token.
        status, body, content_type: a bare HTTP answer instead; without `body` a front end's HTML page.
        retry_after: seconds, sent as `retry_after_form` says.
        delay: seconds before the whole HTTP answer leaves.
        cut: the connection is closed without an answer, `before` the request or message is processed or `after`.
        truncate: only so many bytes of the answer's body are sent, then the connection is broken off.
        parts: what happens to the parts of a batch answer.
    """

    name: str = ""
    per: Literal["message", "request"] = "message"
    wire: Wire = ""
    path: str = ""
    project: str = ""
    kind: Literal["", "token", "topic", "condition", "fid", "apns_token", "subscription", "group_name"] = ""
    target: str = ""
    prefix: str = ""
    share: Share = 1.0
    rate: Share = 1.0
    skip: Count = 0
    times: Count | None = None

    error: str = ""
    status: HttpStatus | None = None
    body: str | None = None
    content_type: str = ""
    retry_after: Seconds | None = None
    retry_after_form: Literal["seconds", "date"] = "seconds"
    delay: Seconds = 0.0
    cut: Literal["", "before", "after"] = ""
    truncate: Count | None = None
    parts: Literal["", "shuffle", "drop", "duplicate"] = ""

    def __post_init__(self) -> None:
        """Refuses what could never work.

        Raises:
            ValueError: an unknown error name, or an effect that this kind of rule cannot have.
        """
        if self.error and self.wire not in ("iid", "legacy", "xmpp") and self.error not in REFUSALS:
            raise ValueError(f"unknown error {self.error!r}: one of {', '.join(sorted(REFUSALS))}")
        if self.error and self.status is not None:
            raise ValueError("a rule has either `error` or `status`")
        if self.wire == "oauth" and (self.per != "request" or self.error or self.parts):
            raise ValueError(
                "a rule for `oauth` is per request and has no `error` or `parts`: use `status` and `body`"
            )


class Limit(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """How often one target may be sent to: a bucket for every target that matches.

    Attributes:
        kind, target, prefix: which targets; empty: any.
        per_second: refill of the bucket.
        burst: its size.
        retry_after: seconds told to those over it; None: no Retry-After.
        retry_after_form: how they are told.
    """

    kind: Literal["", "token", "topic", "condition", "fid"] = ""
    target: str = ""
    prefix: str = ""
    per_second: Annotated[float, msgspec.Meta(gt=0.0)]
    burst: Annotated[float, msgspec.Meta(ge=1.0)] = 1.0
    retry_after: Seconds | None = None
    retry_after_form: Literal["seconds", "date"] = "seconds"


class Scenario(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """All that is scripted: the contents of a faults file.

    Attributes:
        seed: of the generator behind `rate` and shuffling.
        rules: in order of precedence.
        limits: rates of single targets; the first that matches counts.
        quota_per_minute: messages per project and window of one minute; None: no quota. FCM's default.
        device_per_minute: messages to one token in a minute; None: no limit. FCM's limit for Android.
        latency: seconds before every answer to a send.
        auth: `strict`: only access tokens of this token endpoint; `any`: whatever stands behind `Bearer`.
        unknown_tokens: what becomes of well-formed tokens nobody has told of.
        subscriptions_per_s: tokens a second that a project may subscribe and unsubscribe; None: any number. FCM's limit.
        topics_per_token: topics that a token may follow. FCM's limit.
    """

    seed: int = 0
    rules: list[Rule] = []
    limits: list[Limit] = []
    quota_per_minute: Count | None = 600_000
    device_per_minute: Count | None = 240
    latency: Seconds = 0.0
    auth: Literal["strict", "any"] = "strict"
    unknown_tokens: Literal["accept", "unregistered", "invalid"] = "accept"
    subscriptions_per_s: Count | None = 3000
    topics_per_token: Count = 2000


class LiveRule:
    """A rule with what it has seen."""

    __slots__ = ("fired", "matched", "rule", "salt")

    def __init__(self, rule: Rule, salt: bytes) -> None:
        self.rule = rule
        self.salt = salt
        self.matched = 0
        self.fired = 0

    def chosen(self, value: str) -> bool:
        """Whether the target belongs to the rule's share of all targets."""
        digest = blake2b(value.encode(), digest_size=8, salt=self.salt).digest()
        return int.from_bytes(digest, "big") < self.rule.share * 2**64

    def fires(self, dice: Random) -> bool:
        """Whether it happens this time, all conditions of the place being met."""
        rule = self.rule
        if rule.times is not None and self.fired >= rule.times:
            return False
        if rule.rate < 1.0 and dice.random() >= rule.rate:
            return False
        self.matched += 1
        if self.matched <= rule.skip:
            return False
        self.fired += 1
        return True


class Faults:
    """The rules at work.

    Attributes:
        scenario: what was asked for.
        dice: the generator; shared, so that one seed settles everything.
    """

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.dice = Random(scenario.seed)  # noqa: S311 - faults that can be repeated, nothing secret
        self._live = [
            LiveRule(rule, f"{scenario.seed}/{number}".encode()[:16])
            for number, rule in enumerate(scenario.rules)
        ]
        self._per_request = [live for live in self._live if live.rule.per == "request"]
        self._per_message = [live for live in self._live if live.rule.per == "message"]

    def for_request(self, wire: Wire, path: str) -> Rule | None:
        """The rule that this HTTP request meets."""
        for live in self._per_request:
            rule = live.rule
            if rule.wire in ("", wire) and path.startswith(rule.path) and live.fires(self.dice):
                return rule
        return None

    def for_message(self, wire: Wire, project: str, kind: str, value: str) -> Rule | None:
        """The rule that this message meets."""
        for live in self._per_message:
            rule = live.rule
            if rule.prefix and not value.startswith(rule.prefix):
                continue
            if rule.target and rule.target != value:
                continue
            if rule.kind and rule.kind != kind:
                continue
            if rule.wire and rule.wire != wire:
                continue
            if rule.project and rule.project != project:
                continue
            if rule.share < 1.0 and not live.chosen(value):
                continue
            if live.fires(self.dice):
                return rule
        return None

    def counts(self) -> list[dict[str, object]]:
        """How often each rule matched and fired, in order."""
        return [{"name": live.rule.name, "matched": live.matched, "fired": live.fired} for live in self._live]
