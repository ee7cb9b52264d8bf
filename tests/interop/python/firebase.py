"""Drives firebase-admin as its users do; runs in the client's own environment, unmodified.

One JSON object a line on standard input, one on standard output:

    {"call": "send_all", "messages": [SPEC, ...], "dry_run": false}
    -> {"responses": [{"id": "projects/..."} | {"error": "UnregisteredError", "code": "NOT_FOUND"}, ...]}

A SPEC names the class after "class" and gives its arguments, nested as deep as the SDK goes. What the SDK raises
comes back as {"raised": class, "text": ...}.
"""

import asyncio
import datetime as dt
import json
import socket
import sys
import warnings

import firebase_admin
from firebase_admin import credentials, messaging

# 7.x calls tokens deprecated in favour of installation ids; they are what the service is sent by almost everyone.
warnings.simplefilter("ignore", DeprecationWarning)


def build(value):
    """Makes the SDK's objects of a SPEC."""
    if isinstance(value, list):
        return [build(item) for item in value]
    if not isinstance(value, dict):
        return value
    arguments = {name: build(item) for name, item in value.items() if name != "class"}
    kind = value.get("class")
    if kind is None:
        return arguments
    if kind == "datetime":
        return dt.datetime.fromisoformat(arguments["iso"])
    return getattr(messaging, kind)(**arguments)


def told(response):
    """What a SendResponse says."""
    if response.success:
        return {"id": response.message_id}
    return failure(response.exception)


def failure(error):
    return {"error": type(error).__name__, "code": getattr(error, "code", ""), "text": str(error)}


class Driver:
    """The calls, by name."""

    def __init__(self):
        # 7.x keeps one HTTP/2 client in the app, bound to the loop that first used it.
        self.loop = asyncio.new_event_loop()

    def start(self, base, key):
        service = messaging._MessagingService
        service.FCM_URL = base + "/v1/projects/{0}/messages:send"
        service.FCM_BATCH_URL = base + "/batch"
        service.IID_URL = base
        self.app = firebase_admin.initialize_app(credentials.Certificate(key))
        made = messaging._get_messaging_service(self.app)
        if hasattr(made, "_fcm_topic_url"):  # 7.x
            made._fcm_topic_url = f"{base}/v1/projects/{self.app.project_id}/registrations"
        return {"version": firebase_admin.__version__}

    def resolve(self, name):
        return {"addresses": len(socket.getaddrinfo(name, 443))}

    def send(self, message, dry_run=False):
        return {"id": messaging.send(build(message), dry_run=dry_run)}

    def send_all(self, messages, dry_run=False):
        return self._many(messaging.send_all(build(messages), dry_run=dry_run))

    def send_each(self, messages, dry_run=False):
        return self._many(messaging.send_each(build(messages), dry_run=dry_run))

    def send_each_async(self, messages, dry_run=False):
        return self._many(
            self.loop.run_until_complete(messaging.send_each_async(build(messages), dry_run=dry_run))
        )

    def send_multicast(self, message):
        return self._many(messaging.send_multicast(build(message)))

    def send_each_for_multicast(self, message):
        return self._many(messaging.send_each_for_multicast(build(message)))

    def topic(self, name, tokens, topic):
        """Any of the calls that subscribe and unsubscribe, by its name."""
        answer = getattr(messaging, name)(tokens, topic)
        if asyncio.iscoroutine(answer):
            answer = self.loop.run_until_complete(answer)
        return {
            "succeeded": answer.success_count,
            "failed": answer.failure_count,
            "errors": {str(error.index): error.reason for error in answer.errors},
        }

    def encode(self, message):
        return {"json": json.loads(str(build(message)))}

    def _many(self, batch):
        return {
            "responses": [told(response) for response in batch.responses],
            "succeeded": batch.success_count,
            "failed": batch.failure_count,
        }


def main():
    driver = Driver()
    # Some versions print on standard output; the answers have it for themselves.
    answers, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = getattr(driver, request.pop("call"))(**request)
        except Exception as error:  # noqa: BLE001 - whatever the client raises is its answer
            answer = {"raised": type(error).__name__, **failure(error)}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


main()
