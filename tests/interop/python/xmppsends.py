"""Drives aiofcm, a client of FCM's XMPP service; runs in its own environment, unmodified.

One JSON object a line on standard input, one on standard output:

    {"call": "send", "messages": [{"device_token": "alive", "data": {"k": "v"}}, ...]}
    -> {"responses": [{"id": ..., "status": "SUCCESS", "text": null}, ...]}

A message is aiofcm's own, by its arguments. What the client raises comes back as {"raised": class, "text": ...}.
"""

import asyncio
import json
import socket
import sys
from importlib.metadata import version

from aiofcm import FCM, Message
from aiofcm.connection import FCMXMPPConnection

PATIENCE_S = 20


class Driver:
    """The calls, by name."""

    def start(self, base, key):
        self.loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self.loop)
        return {"version": version("aiofcm")}

    def resolve(self, name):
        return {"addresses": len(socket.getaddrinfo(name, 5235))}

    def login(self, host, port, sender, key):
        FCMXMPPConnection.FCM_HOST, FCMXMPPConnection.FCM_PORT = host, port
        self.service = self._run(self._made(sender, key))
        return {}

    def send(self, messages):
        responses = self._run(self._send([Message(**message) for message in messages]))
        return {
            "responses": [
                {"id": each.message_id, "status": each.status, "text": each.description} for each in responses
            ]
        }

    def close(self):
        self.service.pool.close()
        self._run(asyncio.sleep(0.2))
        return {}

    async def _made(self, sender, key):
        return FCM(sender_id=sender, api_key=key, max_connections=1, max_connection_attempts=0)

    async def _send(self, messages):
        return await asyncio.gather(*map(self.service.send_message, messages))

    def _run(self, work):
        return self.loop.run_until_complete(asyncio.wait_for(work, PATIENCE_S))


def main():
    driver = Driver()
    for line in sys.stdin:
        request = json.loads(line)
        call = request.pop("call")
        try:
            answer = getattr(driver, call)(**request)
        except Exception as error:  # noqa: BLE001 - whatever the client raises is its answer
            answer = {"raised": type(error).__name__, "text": str(error)}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


main()
