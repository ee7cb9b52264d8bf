"""Log lines have a form for machines and one for people, and no secrets in either."""

import io
import json
import logging

import pytest
import structlog

from dispatcher.telemetry.logs import HIDDEN, configure, logger, redact, short

TOKEN = "fQ7xKd0aRk2:APA91b" + "Hx9_" * 33
KEY = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBg\n-----END PRIVATE KEY-----\n"


@pytest.fixture(autouse=True)
def _as_before():
    root, ours = logging.getLogger(), logging.getLogger("dispatcher")
    handlers, levels = root.handlers[:], (root.level, ours.level)
    yield
    logging.captureWarnings(capture=False)
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    ours.setLevel(levels[1])
    structlog.reset_defaults()


def clean(**event):
    return redact(None, "info", dict(event))


def test_a_token_shows_as_its_first_characters_and_a_hash():
    assert clean(token=TOKEN)["token"] == short(TOKEN)
    assert short(TOKEN).startswith("fQ7xKd0a~")
    assert len(short(TOKEN)) == 17
    assert short(TOKEN) != short(TOKEN[:-1] + "x")


def test_tokens_in_lists_and_in_mappings():
    event = clean(tokens=[TOKEN, TOKEN], outcome={"target": {"token": TOKEN}, "code": "poison"})
    assert event["tokens"] == [short(TOKEN)] * 2
    assert event["outcome"] == {"target": {"token": short(TOKEN)}, "code": "poison"}


def test_a_token_inside_a_sentence():
    assert clean(event=f"refused {TOKEN} for good")["event"] == f"refused {short(TOKEN)} for good"


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer ya29.c.b0Aaekm1K9x",
        "ya29.a0AfB_byC-example_example",
        KEY,
        KEY[:40],
        "assertion=eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJhQGIifQ.c2lnbmF0dXJl",
        "key=AAAAzc4Qh3E:APA91bF" + "x" * 130,
        "redis://user:s3cret-pw@redis.local:6379/0",
        "redis://:s3cret-pw@redis.local:6379/0",
    ],
)
def test_credentials_do_not_show_wherever_they_stand(text):
    for event in (
        clean(event=text),
        clean(error=ValueError(text)),
        clean(more=[{"a": text}]),
        clean(raw=text.encode()),
    ):
        shown = repr(event)
        assert HIDDEN in shown
        for secret in ("ya29", "MIIE", "c2lnbmF0dXJl", "APA91", "s3cret"):
            assert secret not in shown


def test_credentials_are_hidden_by_name():
    assert clean(password="x", private_key="y", authorization="z") == dict.fromkeys(
        ("password", "private_key", "authorization"), HIDDEN
    )


def test_everyday_values_pass_unchanged():
    event = {
        "event": "settled",
        "project": "demo-orchard-41",
        "count": 500,
        "share": 0.5,
        "entry": "1700000000000-0",
    }
    assert clean(**event) == event


def test_json_lines_hold_one_event_each():
    stream = io.StringIO()
    configure("json", "info", stream)
    logger("dispatcher.x").info("project paused", project="demo-a", delay=60.0)
    line = json.loads(stream.getvalue())
    assert line["event"] == "project paused"
    assert (line["level"], line["project"], line["delay"]) == ("info", "demo-a", 60.0)
    assert line["timestamp"].endswith("Z")


def test_auto_is_json_where_nobody_looks_and_text_on_a_terminal():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    pipe, terminal = io.StringIO(), Terminal()
    configure("auto", "info", pipe)
    logger("dispatcher.x").info("hello")
    configure("auto", "info", terminal)
    logger("dispatcher.x").info("hello")
    assert pipe.getvalue().startswith("{")
    assert "hello" in terminal.getvalue()
    assert not terminal.getvalue().startswith("{")


def test_lines_below_the_level_are_left_out():
    stream = io.StringIO()
    configure("json", "warning", stream)
    logger("dispatcher.x").info("not this")
    logger("dispatcher.x").warning("but this")
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["but this"]


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_a_traceback_does_not_give_a_secret_away(log_format):
    stream = io.StringIO()
    configure(log_format, "info", stream)
    token = TOKEN
    try:
        {}[token]
    except KeyError:
        logger("dispatcher.x").exception("send failed")
    assert "KeyError" in stream.getvalue()
    assert TOKEN not in stream.getvalue()


def test_libraries_are_heard_from_warning_on_and_cleaned_too():
    stream = io.StringIO()
    configure("json", "debug", stream)
    logging.getLogger("aiohttp").info("chatter")
    logging.getLogger("aiohttp").warning("odd answer for %s", TOKEN)
    (line,) = (json.loads(text) for text in stream.getvalue().splitlines())
    assert line["event"] == f"odd answer for {short(TOKEN)}"
    assert line["logger"] == "aiohttp"
