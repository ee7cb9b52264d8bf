"""Imports: APNs tokens and web push subscriptions get registration tokens, which then work like any other."""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import blake2b

from dispatcher.emulator.batch import spoil
from dispatcher.emulator.calls import Deed
from dispatcher.emulator.judge import Asking, Judge, denied, reply, said
from dispatcher.emulator.registry import App
from dispatcher.emulator.wire import Reply
from dispatcher.protocol import apns_import, web_push
from dispatcher.protocol.apns_import import Imported
from dispatcher.protocol.call import Denied

_APNS_TOKEN = re.compile(r"([0-9a-fA-F]{2}){32,100}").fullmatch
"""Apple's tokens have 32 bytes, and Apple reserves the right to longer ones."""

_APPLICATION = "web"
_AUTH_BYTES, _P256DH_BYTES = 16, 65  # Instance ID rules, section 6

_TEXTS = {"INTERNAL": "Internal Server Error", "UNAVAILABLE": "Service Unavailable"}


def token_for(*origin: str) -> str:
    """The registration token of an app instance that was imported: the same origin has always the same."""
    digest = blake2b("\n".join(origin).encode(), digest_size=48).digest()
    text = urlsafe_b64encode(digest).decode()
    return f"{text[:11]}:APA91b{text[11:]}"


class Imports:
    """Answers calls that import tokens."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge

    def apns(self, asking: Asking, body: bytes) -> Reply:
        """`POST /iid/v1:batchImport`."""
        found = apns_import.decode_import(body)
        if isinstance(found, Denied):
            return denied(400, found.text)
        known = self._judge.registry.project(asking.project)
        results = []
        for apns_token in found.apns_tokens:
            deed = Deed("apns.import", "", asking.project, found.application, "apns_token", apns_token)
            asking.deeds.append(deed)
            word = self._judge.scripted(asking, "apns_token", apns_token)
            deed.word = _TEXTS.get(word, word) or ("" if _APNS_TOKEN(apns_token) else "Invalid APNs token")
            if deed.word:
                results.append(Imported(apns_token, deed.word))
                continue
            origin = (asking.project, found.application, str(found.sandbox), apns_token.lower())
            deed.given = token_for(*origin)
            known.tokens[deed.given] = "registered"
            known.apps[deed.given] = App(found.application, "IOS")
            results.append(Imported(apns_token, "OK", deed.given))
        for what in asking.trouble.parts:
            spoil(results, what, self._judge.faults.dice)
        return reply(200, apns_import.encode_results(results))

    def web(self, asking: Asking, asked: web_push.Asked, body: bytes) -> Reply:
        """All methods of `/v1/web/iid`."""
        deed = Deed(f"webpush.{asked.what}", "", asking.project, "", "token", asked.token)
        asking.deeds.append(deed)
        subscription = web_push.decode_subscription(body) if asked.what != "delete" else None
        if isinstance(subscription, web_push.Subscription):
            if asked.what == "import":
                deed.kind, deed.value = "subscription", subscription.endpoint
            if not _has_keys(subscription):
                subscription = Denied("InvalidSubscription")
        if isinstance(subscription, Denied):
            deed.word = subscription.text
            return denied(400, subscription.text)
        if asked.what == "import":
            deed.word = self._judge.scripted(asking, "subscription", deed.value)
        else:
            deed.word = self._judge.token(asking, asked.token)
        if deed.word:
            return said(deed.word)
        if subscription is None:
            self._judge.registry.end(asking.project, asked.token)
            return reply(204, b"")
        deed.given = token_for(asking.project, subscription.endpoint)
        if asked.what == "refresh" and deed.given != asked.token:
            self._judge.registry.end(asking.project, asked.token)
        known = self._judge.registry.project(asking.project)
        known.tokens[deed.given] = "registered"
        known.apps[deed.given] = App(_APPLICATION, "CHROME")
        return reply(201 if asked.what == "import" else 200, web_push.token_body(deed.given))


def _has_keys(subscription: web_push.Subscription) -> bool:
    """Whether both keys are base64url of the right length."""
    try:
        auth, p256dh = (
            urlsafe_b64decode(key + "=" * (-len(key) % 4))
            for key in (subscription.keys.auth, subscription.keys.p256dh)
        )
    except ValueError:
        return False
    return len(auth) == _AUTH_BYTES and len(p256dh) == _P256DH_BYTES
