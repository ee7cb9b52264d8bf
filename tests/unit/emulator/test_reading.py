import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher.emulator.reading import Content, Unreadable, read
from dispatcher.protocol.answer import read_error


def body(message: object, **envelope: object) -> bytes:
    return orjson.dumps({"message": message, **envelope})


@pytest.mark.parametrize(
    ("message", "kind", "value"),
    [
        ({"token": "t"}, "token", "t"),
        ({"topic": "news"}, "topic", "news"),
        ({"condition": "'a' in topics || 'b' in topics"}, "condition", "'a' in topics || 'b' in topics"),
        ({"fid": "f"}, "fid", "f"),
        ({"name": "ignored", "token": "t", "topic": ""}, "token", "t"),
        ({"token": "t", "android": {"collapseKey": "c", "ttl": "3.5s"}, "fcmOptions": None}, "token", "t"),
    ],
)
def test_a_good_message_is_read(message: dict[str, object], kind: str, value: str) -> None:
    assert read(body(message)) == Content(kind, value, "", False)


@pytest.mark.parametrize("name", ["validate_only", "validateOnly"])
def test_both_spellings_of_a_dry_run_are_read(name: str) -> None:
    assert read(body({"token": "t"}, **{name: True})) == Content("token", "t", "", True)


def test_the_data_may_name_the_message() -> None:
    assert read(body({"token": "t", "data": {"id": "job-7"}})) == Content("token", "t", "job-7", False)


@pytest.mark.parametrize(
    ("sent", "field", "text"),
    [
        (
            body({"token": "t", "data": {"a": "1", "b": "2", "c": 17}}),
            "message.data[2].value",
            "Invalid value at 'message.data[2].value' (TYPE_STRING), 17",
        ),
        (
            body({"token": "t", "colour": "red"}),
            "message",
            "Invalid JSON payload received. Unknown name \"colour\" at 'message': Cannot find field.",
        ),
        (
            body({"token": "t", "android": {"notification": {"colour": "red"}}}),
            "message.android.notification",
            (
                "Invalid JSON payload received. Unknown name \"colour\" at 'message.android.notification': "
                "Cannot find field."
            ),
        ),
        (
            body({"token": "t"}, extra=1),
            "",
            'Invalid JSON payload received. Unknown name "extra": Cannot find field.',
        ),
        (
            body({"message": {"token": "t"}}),
            "message",
            "Invalid JSON payload received. Unknown name \"message\" at 'message': Cannot find field.",
        ),
        (body([]), "message", "Invalid value at 'message' (object), []"),
        (
            body({"token": "t"}, validate_only=1),
            "validate_only",
            "Invalid value at 'validate_only' (TYPE_BOOL), 1",
        ),
        (
            body({"token": "t", "notification": {"title": 5}}),
            "message.notification.title",
            "Invalid value at 'message.notification.title' (TYPE_STRING), 5",
        ),
        (
            body({"token": "t", "android": {"directBootOk": "true"}}),
            "message.android.direct_boot_ok",
            "Invalid value at 'message.android.direct_boot_ok' (TYPE_BOOL), \"true\"",
        ),
        (
            body({"token": "t", "android": {"notification": {"bodyLocArgs": ["a", 1.5]}}}),
            "message.android.notification.body_loc_args[1]",
            "Invalid value at 'message.android.notification.body_loc_args[1]' (TYPE_STRING), 1.5",
        ),
        (
            body({"token": "t", "fcmOptions": {"analyticsLable": "x"}}),
            "message.fcm_options",
            (
                "Invalid JSON payload received. Unknown name \"analyticsLable\" at 'message.fcm_options': "
                "Cannot find field."
            ),
        ),
        (
            body({"token": "t", "topic": "news"}),
            "message",
            "Invalid value at 'message' (oneof), oneof field 'target' is already set. Cannot set 'topic'",
        ),
    ],
)
def test_a_broken_schema_is_a_bad_request_without_fcm_error(sent: bytes, field: str, text: str) -> None:
    answer = read(sent)
    assert isinstance(answer, Unreadable)
    error = read_error(answer.status, None, None, answer.body)
    assert (error.http_status, error.fcm_code, error.rpc_status) == (400, "", "INVALID_ARGUMENT")
    assert error.violations == [field]
    assert orjson.loads(answer.body)["error"]["message"] == text
    assert answer.code == "BAD_REQUEST"


@pytest.mark.parametrize(
    ("message", "field"),
    [
        ({"notification": {"title": "Hi"}}, "message"),
        ({"token": "t", "data": {"google.x": "1"}}, "message.data.google.x"),
        ({"token": "t", "android": {"ttl": "forever"}}, "message.android.ttl"),
        ({"token": "t", "data": {"k": "x" * 4096}}, "message"),
        ({"topic": "/topics/news"}, "message.topic"),
        ({"condition": "nothing"}, "message.condition"),
    ],
)
def test_a_broken_rule_is_an_invalid_argument_that_names_the_field(
    message: dict[str, object], field: str
) -> None:
    answer = read(body(message))
    assert isinstance(answer, Unreadable)
    error = read_error(answer.status, None, None, answer.body)
    assert (error.http_status, error.fcm_code, error.violations) == (400, "INVALID_ARGUMENT", [field])


@pytest.mark.parametrize(
    "sent", [b"", b"{", b"[]", b"null", b"\xff", b'{"message":null}', b"{}", b"[" * 5000]
)
def test_rubbish_is_refused(sent: bytes) -> None:
    answer = read(sent)
    assert isinstance(answer, Unreadable)
    assert read_error(answer.status, None, None, answer.body).rpc_status == "INVALID_ARGUMENT"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["message", "token", "topic", "data", "android", "ttl", "x"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@settings(max_examples=150)
@given(json_values)
def test_any_json_is_read_or_refused(value: object) -> None:
    assert isinstance(read(orjson.dumps(value)), (Content, Unreadable))
