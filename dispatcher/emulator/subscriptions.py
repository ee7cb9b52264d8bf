"""Topics and what is known of tokens: the server side of Instance ID and of v1's topicSubscriptions."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson

from dispatcher.emulator.batch import spoil
from dispatcher.emulator.calls import Deed
from dispatcher.emulator.credentials import number_of
from dispatcher.emulator.judge import Asking, Judge, denied, reply, said, said_by_google
from dispatcher.emulator.registry import SOME_APP
from dispatcher.emulator.wire import Reply
from dispatcher.protocol import instance_id, topic_subscription
from dispatcher.protocol.answer import rpc_error
from dispatcher.protocol.call import Denied
from dispatcher.protocol.condition import TOPIC_NAME

_PRIVATE = "private/"
"""One SDK's pattern lets a topic begin so."""


class Subscriptions:
    """Answers calls about tokens and the topics they follow."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge

    # Instance ID.

    def info(self, asking: Asking, asked: instance_id.Asked) -> Reply:
        """`GET /iid/info/{token}`."""
        deed = Deed("token.info", "", asking.project, "", "token", asked.token)
        asking.deeds.append(deed)
        deed.word = self._judge.token(asking, asked.token)
        if deed.word:
            return said(deed.word)
        known = self._judge.registry.project(asking.project)
        app = known.apps.get(asked.token, SOME_APP)
        facts: dict[str, Any] = {
            "application": app.application,
            "applicationVersion": "1",
            "authorizedEntity": number_of(asking.project),
            "platform": app.platform,
        }
        if asked.details:
            followed = known.follows.get(asked.token, {})
            facts["rel"] = {"topics": {topic: {"addDate": day} for topic, day in followed.items()}}
        return reply(200, orjson.dumps(facts))

    def relation(self, asking: Asking, asked: instance_id.Asked) -> Reply:
        """`POST /iid/v1/{token}/rel/topics/{topic}`."""
        deed = Deed("topic.subscribe", "relation", asking.project, asked.topic, "token", asked.token)
        asking.deeds.append(deed)
        if not _is_topic(asked.topic):
            deed.word = "InvalidTopicName"
        else:
            self._change_one(asking, asked.topic, deed)
        return said(deed.word) if deed.word else reply(200, b"{}")

    def bulk(self, asking: Asking, body: bytes, *, remove: bool) -> Reply:
        """`POST /iid/v1:batchAdd` and `:batchRemove`."""
        found = instance_id.decode_bulk(body)
        if isinstance(found, Denied):
            return denied(400, found.text)
        if not _is_topic(found.topic):
            return denied(400, "InvalidTopicName")
        operation = "topic.unsubscribe" if remove else "topic.subscribe"
        asking.deeds += [
            Deed(operation, "batch", asking.project, found.topic, "token", token) for token in found.tokens
        ]
        granted = self._judge.limits.subscriptions(asking.project, len(found.tokens), asking.now)
        if not granted:
            asking.retry_after = 1.0
            for deed in asking.deeds:
                deed.word = "RESOURCE_EXHAUSTED"
            return said("RESOURCE_EXHAUSTED")
        for deed in asking.deeds[granted:]:
            deed.word = "RESOURCE_EXHAUSTED"
        self._change(asking, found.topic, asking.deeds[:granted], remove=remove)
        words = [deed.word for deed in asking.deeds]
        for what in asking.trouble.parts:
            spoil(words, what, self._judge.faults.dice)
        return reply(200, instance_id.encode_results(words))

    def _change(self, asking: Asking, topic: str, deeds: list[Deed], *, remove: bool) -> None:
        """Subscribes or unsubscribes the tokens of these deeds, and notes in each what was wrong."""
        judge, registry = self._judge, self._judge.registry
        follows = registry.project(asking.project).follows
        most = judge.faults.scenario.topics_per_token
        good = []
        for deed in deeds:
            deed.word = judge.token(asking, deed.value)
            if not deed.word:
                if not remove:
                    followed = follows.get(deed.value, ())
                    if len(followed) >= most and topic not in followed:
                        deed.word = "TOO_MANY_TOPICS"
                        continue
                good.append(deed.value)
        if remove:
            registry.unsubscribe(asking.project, topic, good)
        else:
            registry.subscribe(asking.project, topic, good, _day(asking.now))

    def _change_one(self, asking: Asking, topic: str, deed: Deed, *, remove: bool = False) -> None:
        """The same for a call about one token, which is charged by itself."""
        if self._judge.limits.subscriptions(asking.project, 1, asking.now):
            self._change(asking, topic, [deed], remove=remove)
        else:
            asking.retry_after = 1.0
            deed.word = "RESOURCE_EXHAUSTED"

    # topicSubscriptions.

    def resource(self, asking: Asking, asked: topic_subscription.Asked) -> Reply:
        """All methods of `projects/*/registrations/*/topicSubscriptions`."""
        if asked.what in ("get", "list"):
            return self._shown(asking, asked)
        remove = asked.what == "delete"
        operation = "topic.unsubscribe" if remove else "topic.subscribe"
        deed = Deed(operation, "v1", asking.project, asked.topic, "token", asked.token)
        asking.deeds.append(deed)
        if not _is_topic(asked.topic):
            deed.word = "Invalid topic name"
            return said_by_google(deed.word)
        followed = asked.topic in self._followed(asking.project, asked.token)
        self._change_one(asking, asked.topic, deed, remove=remove)
        if deed.word:
            return said_by_google(deed.word)
        if remove:
            if not followed and not asked.allow_missing:
                deed.word = "NOT_FOUND"
                return reply(*rpc_error(404, "NOT_FOUND", "Requested entity was not found."))
            return reply(200, b"{}")
        if followed:
            deed.word = "ALREADY_EXISTS"
            return reply(*rpc_error(409, "ALREADY_EXISTS", "Requested entity already exists."))
        return reply(
            200, topic_subscription.encode_subscription(self._one(asking.project, asked.token, asked.topic))
        )

    def _shown(self, asking: Asking, asked: topic_subscription.Asked) -> Reply:
        word = self._judge.token(asking, asked.token)
        if word:
            return said_by_google(word)
        followed = self._followed(asking.project, asked.token)
        if asked.what == "list":
            listed = [self._one(asking.project, asked.token, topic) for topic in followed]
            return reply(200, topic_subscription.encode_list(listed))
        if asked.topic not in followed:
            return reply(*rpc_error(404, "NOT_FOUND", "Requested entity was not found."))
        return reply(
            200, topic_subscription.encode_subscription(self._one(asking.project, asked.token, asked.topic))
        )

    def _followed(self, project: str, token: str) -> dict[str, str]:
        return self._judge.registry.project(project).follows.get(token, {})

    def _one(self, project: str, token: str, topic: str) -> topic_subscription.Subscription:
        day = self._followed(project, token)[topic] or "1970-01-01"
        name = topic_subscription.subscription_name(project, token, topic)
        return topic_subscription.Subscription(name, topic, f"{day}T00:00:00Z")


def _is_topic(name: str) -> bool:
    return TOPIC_NAME.fullmatch(name.removeprefix(_PRIVATE)) is not None


def _day(now: float) -> str:
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%d")
