"""Drives pyfcm 1.5, a client of the legacy HTTP service; runs in its own environment, unmodified.

One JSON object a line on standard input, one on standard output:

    {"call": "notify_multiple_devices", "registration_ids": ["a", "b"], "message_body": "hello"}
    -> what pyfcm returns, or {"raised": class, "text": ...}

The calls are pyfcm's own, with its own arguments.
"""

import json
import socket
import sys
from importlib.metadata import version
from pathlib import Path

from pyfcm import FCMNotification

CALLS = {
    "notify_single_device",
    "single_device_data_message",
    "notify_multiple_devices",
    "multiple_devices_data_message",
    "notify_topic_subscribers",
    "topic_subscribers_data_message",
}


class Driver:
    """The calls, by name."""

    def start(self, base, key):
        FCMNotification.FCM_END_POINT = base + "/fcm/send"
        self.service = FCMNotification(api_key=Path(key).with_suffix(".server-key").read_text().strip())
        self.stranger = FCMNotification(api_key="AAAAstranger:key")
        return {"version": version("pyfcm")}

    def resolve(self, name):
        return {"addresses": len(socket.getaddrinfo(name, 443))}

    def as_a_stranger(self, **arguments):
        return self.stranger.notify_single_device(**arguments)

    def group(self, notification_key, **arguments):
        """pyfcm has no call for groups; its users name the group as a device and read the answer themselves."""
        payload = self.service.parse_payload(registration_ids=[notification_key], **arguments)
        self.service.send_request([payload])
        return self.service.send_request_responses[-1].json()


def main():
    driver = Driver()
    for line in sys.stdin:
        request = json.loads(line)
        call = request.pop("call")
        try:
            made = getattr(driver.service if call in CALLS else driver, call)
            answer = made(**request)
        except Exception as error:  # noqa: BLE001 - whatever the client raises is its answer
            answer = {"raised": type(error).__name__, "text": str(error)}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


main()
