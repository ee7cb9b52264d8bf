"""Drives googleapiclient's own batch writer and reader; runs in the client's own environment, unmodified.

Same protocol as firebase.py. Calls: `send` (BatchHttpRequest against the emulator) and `read` (what its MIME
reader makes of a batch request that somebody else wrote).
"""

import json
import socket
import sys
from email.feedparser import FeedParser

import google_auth_httplib2
import googleapiclient
import googleapiclient.http
import httplib2
from google.oauth2 import service_account
from googleapiclient.errors import HttpError

SCOPE = "https://www.googleapis.com/auth/firebase.messaging"


class Driver:
    """The calls, by name."""

    def start(self, base, key):
        account = service_account.Credentials.from_service_account_file(key, scopes=[SCOPE])
        self.base = base
        self.http = google_auth_httplib2.AuthorizedHttp(account, http=httplib2.Http(timeout=30))
        return {"version": googleapiclient.version.__version__ if hasattr(googleapiclient, "version") else ""}

    def resolve(self, name):
        return {"addresses": len(socket.getaddrinfo(name, 443))}

    def send(self, project, messages, ids=None):
        answers = {}

        def keep(request_id, response, error):
            if error is None:
                answers[request_id] = {"status": 200, "json": response}
            else:
                headers = {name: value for name, value in error.resp.items() if name != "status"}
                answers[request_id] = {
                    "status": error.resp.status,
                    "json": json.loads(error.content),
                    "headers": headers,
                }

        batch = googleapiclient.http.BatchHttpRequest(callback=keep, batch_uri=self.base + "/batch")
        for place, message in enumerate(messages):
            batch.add(
                googleapiclient.http.HttpRequest(
                    http=self.http,
                    postproc=lambda response, content: json.loads(content),
                    uri=f"{self.base}/v1/projects/{project}/messages:send",
                    method="POST",
                    body=json.dumps({"message": message}),
                    headers={"content-type": "application/json"},
                ),
                request_id=ids[place] if ids else None,
            )
        try:
            batch.execute()
        except HttpError as error:
            return {"refused": error.resp.status, "json": json.loads(error.content)}
        return {"answers": answers}

    def read(self, content_type, body):
        # As BatchHttpRequest._execute reads an answer: one MIME message, whose parts it takes apart itself.
        parser = FeedParser()
        parser.feed(f"content-type: {content_type}\r\n\r\n{body}")
        whole = parser.close()
        reader = googleapiclient.http.BatchHttpRequest(batch_uri=self.base + "/batch")
        parts = []
        for part in whole.get_payload():
            request_line, rest = part.get_payload().split("\n", 1)
            # Its reader wants a status line in front; heads and bodies of requests and answers are alike.
            head, content = reader._deserialize_response("HTTP/1.1 200 OK\r\n" + rest)
            parts.append(
                {
                    "kind": part.get_content_type(),
                    "id": part["Content-ID"],
                    "line": request_line.strip(),
                    "type": head["content-type"],
                    "json": json.loads(content),
                }
            )
        return {"parts": parts, "defects": [type(defect).__name__ for defect in whole.defects]}


def main():
    driver = Driver()
    # Some versions print on standard output; the answers have it for themselves.
    answers, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = getattr(driver, request.pop("call"))(**request)
        except Exception as error:  # noqa: BLE001 - whatever the client raises is its answer
            answer = {"raised": type(error).__name__, "text": str(error)}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


main()
