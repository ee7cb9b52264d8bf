"""A batch request as a server reads it."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher.errors import MultipartError
from dispatcher.protocol import multipart
from dispatcher.protocol.batch import encode_request
from dispatcher.protocol.batch_server import decode_request

GOLDEN = Path(__file__).parents[2] / "golden"


@settings(max_examples=50)
@given(
    st.lists(st.dictionaries(st.text(max_size=5), st.text(max_size=20), max_size=2), min_size=1, max_size=5)
)
def test_a_request_is_read_as_it_was_meant(documents):
    bodies = [orjson.dumps({"message": document}) for document in documents]
    requests = decode_request(multipart.content_type("b'x"), encode_request("demo", bodies, "b'x"))
    assert [request.body for request in requests] == bodies
    assert [request.content_id for request in requests] == [str(n + 1) for n in range(len(bodies))]
    assert {(request.method, request.path) for request in requests} == {
        ("POST", "/v1/projects/demo/messages:send")
    }
    assert requests[0].headers == {"content-type": "application/json"}


def test_text_that_looks_like_a_delimiter_or_an_id_stays_text():
    body = orjson.dumps({"message": {"data": {"x": "\r\n--b\r\nContent-ID: 7\r\n\r\n--b--"}}})
    requests = decode_request("multipart/mixed; boundary=b", encode_request("demo", [body] * 3, "b"))
    assert [request.body for request in requests] == [body] * 3


def test_more_than_one_page_of_messages_is_numbered_through():
    requests = decode_request("multipart/mixed; boundary=b", encode_request("demo", [b"{}"] * 501, "b"))
    assert [request.content_id for request in requests] == [str(n) for n in range(1, 502)]


@pytest.mark.parametrize("name", ["firebase-admin-node-sendAll.bin", "firebase-admin-python-send_all.bin"])
def test_recorded_requests_of_other_clients_are_read(name):
    head, _, body = (GOLDEN / name).read_bytes().partition(b"\r\n\r\n")
    headers = multipart.read_headers(head)
    requests = decode_request(headers["content-type"], body)
    messages = [orjson.loads(request.body)["message"] for request in requests]
    assert [message.get("token") or message.get("topic") for message in messages] == [
        "FAKE-TOKEN-0001",
        "news",
        "FAKE-TOKEN-0003",
    ]
    assert messages[0]["notification"]["body"] == "Grüße ✓"
    assert {request.path for request in requests} == {"/v1/projects/demo-proj/messages:send"}
    ids = [request.content_id for request in requests]
    node = "node" in name
    assert ids == (
        ["1", "2", "3"] if node else [f"<95898702-fe5b-4c59-931e-b05907713718 + {n}>" for n in (1, 2, 3)]
    )
    assert (requests[0].headers.get("authorization") is None) == node


@pytest.mark.parametrize("end", ["\r\n", "\n"])
@pytest.mark.parametrize(
    "line",
    [
        "POST /v1/projects/p/messages:send HTTP/1.1",
        "POST https://fcm.googleapis.com/v1/projects/p/messages:send HTTP/1.1",
        "POST /v1/projects/p/messages:send",
        "post /v1/projects/p/messages:send HTTP/2",
    ],
)
def test_every_form_of_request_line_is_read(line, end):
    body = end.join(["--s", "content-type: application/http", "", line, "", "{}", "--s--", ""]).encode()
    (request,) = decode_request("multipart/mixed; boundary=s", body)
    assert (request.method, request.path, request.body) == ("POST", "/v1/projects/p/messages:send", b"{}")
    assert request.content_id is None


def test_a_part_that_asks_for_no_url_is_refused():
    body = b"--s\r\n\r\nPOST https://[x/v1 HTTP/1.1\r\n\r\n{}\r\n--s--\r\n"
    with pytest.raises(MultipartError, match="part 1 asks for no URL"):
        decode_request("multipart/mixed; boundary=s", body)


def test_inner_headers_win_over_those_of_the_part_and_content_headers_stay_where_they_are():
    body = b"\r\n".join(
        [
            *(b"--s", b"Content-Type: application/http", b"Authorization: Bearer part", b"X: part", b""),
            *(
                b"POST /a?b=c HTTP/1.1",
                b"authorization: Bearer inner",
                b"Content-Length: 99999",
                b"",
                b'{"\xc3\xa9":1}',
            ),
            *(b"--s", b"Authorization: Bearer part", b"", b"POST /a HTTP/1.1", b"", b"{}"),
            b"--s--",
        ]
    )
    first, second = decode_request("multipart/mixed; boundary=s", body)
    assert first.headers == {"authorization": "Bearer inner", "x": "part", "content-length": "99999"}
    assert (first.path, first.body) == ("/a?b=c", '{"é":1}'.encode())
    assert second.headers == {"authorization": "Bearer part"}


def test_a_request_without_closing_delimiter_is_taken_if_its_last_part_is_whole():
    whole = encode_request("demo", [b'{"a":1}', b'{"b":2}'], "b").rstrip()
    bodies = [
        request.body
        for request in decode_request("multipart/mixed; boundary=b", whole.removesuffix(b"--b--"))
    ]
    assert bodies == [b'{"a":1}', b'{"b":2}']


def test_a_request_cut_at_any_byte_is_refused_or_read_without_a_wrong_part():
    bodies = [b'{"a":1}', b'{"b":22}']
    whole = encode_request("demo", bodies, "b")
    for length in range(len(whole)):
        try:
            requests = decode_request("multipart/mixed; boundary=b", whole[:length])
        except MultipartError:
            continue
        assert [request.body for request in requests] == bodies[: len(requests)]


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", b"{}"),
        (None, b""),
        ("multipart/mixed; boundary=b", b""),
        ("multipart/mixed; boundary=b", b"--b\r\n\r\nnonsense\r\n\r\n{}\r\n--b--"),
        ("multipart/mixed; boundary=b", b"--b\r\nContent-Type: application/http\r\n--b--"),
    ],
)
def test_a_malformed_request_is_refused(content_type, body):
    with pytest.raises(MultipartError):
        decode_request(content_type, body)
