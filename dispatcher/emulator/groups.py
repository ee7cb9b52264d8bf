"""Device groups: their state, and `/fcm/notification`, which changes it (legacy rules, section 5)."""

from __future__ import annotations

import secrets

from dispatcher.emulator.calls import Deed
from dispatcher.emulator.judge import Asking, Judge, denied, reply, said
from dispatcher.emulator.registry import Group, Registry
from dispatcher.emulator.wire import Reply
from dispatcher.protocol import device_group
from dispatcher.protocol.call import Denied
from dispatcher.protocol.device_group import MEMBERS_LIMIT

NO_GROUP = Denied("notification_key not found")
NO_MEMBERS = Denied("no valid registration ids")
TAKEN = Denied("notification_key already exists")
FULL = Denied(f"too many registration ids: a group has at most {MEMBERS_LIMIT} members")
OTHER_NAME = Denied("notification_key does not belong to notification_key_name")


class Groups:
    """Device groups of all projects; every refusal is a `Denied` with the service's text."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def get(self, project: str, name: str) -> Group | None:
        """The group of this name."""
        return self._registry.project(project).groups.get(name)

    def of_key(self, project: str, key: str) -> Group | None:
        """The group behind a notification key; None: it is no such key, or its last member is gone."""
        return self._registry.project(project).keys.get(key)

    def create(self, project: str, name: str, tokens: list[str]) -> Group | Denied:
        """Makes a group of those tokens that are registered."""
        if self.get(project, name) is not None:
            return TAKEN
        members = self._valid(project, tokens)
        if not members:
            return NO_MEMBERS
        if len(members) > MEMBERS_LIMIT:
            return FULL
        group = Group(name, f"APA91b{secrets.token_urlsafe(72)}", members)
        known = self._registry.project(project)
        known.groups[name] = known.keys[group.key] = group
        known.tokens[group.key] = "group"
        return group

    def add(self, project: str, name: str, key: str, tokens: list[str]) -> Group | Denied:
        """Adds those tokens that are registered; who is a member already stays one."""
        group = self._named(project, name, key)
        if isinstance(group, Denied):
            return group
        members = self._valid(project, tokens)
        if not members:
            return NO_MEMBERS
        if len(group.members | members) > MEMBERS_LIMIT:
            return FULL
        group.members |= members
        return group

    def remove(self, project: str, name: str, key: str, tokens: list[str]) -> Group | Denied:
        """Takes members out; with the last one the key ends."""
        group = self._named(project, name, key)
        if isinstance(group, Denied):
            return group
        leaving = [token for token in dict.fromkeys(tokens) if token in group.members]
        if not leaving:
            return NO_MEMBERS
        for token in leaving:
            del group.members[token]
        if not group.members:
            known = self._registry.project(project)
            del known.groups[group.name], known.keys[group.key]
            known.tokens[group.key] = "unregistered"
            known.ended.add(group.key)
        return group

    def _named(self, project: str, name: str, key: str) -> Group | Denied:
        group = self.of_key(project, key)
        if group is None:
            return NO_GROUP
        return OTHER_NAME if name and name != group.name else group

    def _valid(self, project: str, tokens: list[str]) -> dict[str, None]:
        states = {token: self._registry.token_state(project, token) for token in tokens}
        return {token: None for token, state in states.items() if state in ("registered", "apns-auth-error")}


class GroupCalls:
    """Answers calls about device groups."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge

    def get(self, asking: Asking, query: str) -> Reply:
        """`GET /fcm/notification`."""
        name = device_group.asked_name(query)
        deed = Deed("group.get", "", asking.project, name, "group_name", name)
        asking.deeds.append(deed)
        word = self._judge.scripted(asking, "group_name", name)
        if word:
            deed.word = word
            return said(word)
        group = Groups(self._judge.registry).get(asking.project, name)
        return self._answer(deed, NO_GROUP if group is None else group)

    def change(self, asking: Asking, body: bytes) -> Reply:
        """`POST /fcm/notification`."""
        found = device_group.decode_change(body)
        if isinstance(found, Denied):
            return denied(400, found.text)
        groups = Groups(self._judge.registry)
        known = groups.of_key(asking.project, found.key)
        name = found.name or (known.name if known is not None else "")
        deed = Deed(f"group.{found.operation}", "", asking.project, name, "group_name", name)
        asking.deeds.append(deed)
        word = self._judge.scripted(asking, "group_name", name)
        if word:
            deed.word = word
            return said(word)
        if found.operation == "create":
            group = groups.create(asking.project, found.name, found.tokens)
        elif found.operation == "add":
            group = groups.add(asking.project, found.name, found.key, found.tokens)
        else:
            group = groups.remove(asking.project, found.name, found.key, found.tokens)
        return self._answer(deed, group)

    def _answer(self, deed: Deed, group: Group | Denied) -> Reply:
        if isinstance(group, Denied):
            deed.word = group.text
            return denied(400, group.text)
        deed.given = group.key
        return reply(200, device_group.key_body(group.key))
