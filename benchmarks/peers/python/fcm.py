"""A Python client of FCM as its users call it; runs in the client's own environment, unmodified.

    python fcm.py CALL '{"url": ..., "key": ..., "messages": 2000}'

Prints what the messages cost this process, beyond a first handful that opens connections and fetches a token:
{"messages", "seconds", "cpu_s"}. Which URL the client posts to is set where the client keeps it.
"""

import asyncio
import json
import sys
import time
import warnings

warnings.simplefilter("ignore")

CHUNK = 500
"""Messages in a call: the most that the SDKs take."""
WARM = 50
TITLE, BODY = "New message", "Anna: see you at the harbour at eight?"
DATA = {"chat": "4711", "kind": "text"}


def token(number):
    return f"bench{number:011d}:APA91b" + "x" * 118


def firebase_admin(given, method):
    import firebase_admin
    from firebase_admin import credentials, messaging

    service = messaging._MessagingService
    service.FCM_URL = given["url"] + "/v1/projects/{0}/messages:send"
    service.FCM_BATCH_URL = given["url"] + "/batch"
    firebase_admin.initialize_app(credentials.Certificate(given["key"]))
    loop = asyncio.new_event_loop()

    def send(numbers):
        messages = [
            messaging.Message(
                token=token(number),
                notification=messaging.Notification(title=TITLE, body=BODY),
                data=DATA,
                android=messaging.AndroidConfig(priority="high"),
            )
            for number in numbers
        ]
        answer = getattr(messaging, method)(messages)
        if method.endswith("_async"):
            answer = loop.run_until_complete(answer)
        return answer.success_count

    return send


def async_firebase(given):
    from async_firebase import AsyncFirebaseClient, _credentials
    from async_firebase.messages import AndroidConfig, Message, Notification

    AsyncFirebaseClient.BASE_URL = given["url"]
    _credentials.TOKEN_URL = given["url"] + "/token"
    client = AsyncFirebaseClient()
    client.creds_from_service_account_file(given["key"])
    loop = asyncio.new_event_loop()

    def send(numbers):
        messages = [
            Message(
                token=token(number),
                notification=Notification(title=TITLE, body=BODY),
                data=DATA,
                android=AndroidConfig(priority="high"),
            )
            for number in numbers
        ]
        return loop.run_until_complete(client.send_each(messages)).success_count

    return send


def pyfcm(given):
    from pyfcm import FCMNotification

    FCMNotification.FCM_END_POINT_BASE = given["url"] + "/v1/projects"
    client = FCMNotification(service_account_file=given["key"], project_id="bench")

    def send(numbers):
        calls = [
            {
                "fcm_token": token(number),
                "notification_title": TITLE,
                "notification_body": BODY,
                "data_payload": DATA,
                "android_config": {"priority": "high"},
            }
            for number in numbers
        ]
        return sum("name" in answer for answer in client.async_notify_multiple_devices(calls, timeout=30))

    return send


CALLS = {
    "send_each": lambda given: firebase_admin(given, "send_each"),
    "send_each_async": lambda given: firebase_admin(given, "send_each_async"),
    "send_all": lambda given: firebase_admin(given, "send_all"),
    "async_firebase": async_firebase,
    "pyfcm": pyfcm,
}


def main():
    given = json.loads(sys.argv[2])
    send = CALLS[sys.argv[1]](given)
    assert send(range(WARM)) == WARM
    count = given["messages"]
    began, cpu = time.perf_counter(), time.process_time()
    done = sum(send(range(start, min(count, start + CHUNK))) for start in range(0, count, CHUNK))
    took = {"messages": done, "seconds": time.perf_counter() - began, "cpu_s": time.process_time() - cpu}
    if done != count:
        sys.exit(f"{done} of {count} were accepted")
    print(json.dumps(took))


main()
