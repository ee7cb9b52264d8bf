"""Our reading of a message and firebase-admin's encoder of one, held against each other."""

import json
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dispatcher.model import Refusal
from dispatcher.protocol.message import read_message
from tests.interop.conftest import Client

HERE = Path(__file__).parent
CORPUS: list[dict[str, Any]] = json.loads((HERE / "corpus" / "messages.json").read_text())


def ours(message: object) -> tuple[str, Any]:
    """Our verdict, and the JSON that would be sent."""
    read = read_message(json.dumps(message).encode())
    return ("refuse", read.reason) if isinstance(read, Refusal) else ("accept", json.loads(read.raw))


def theirs(client: Client, spec: object) -> tuple[str, Any]:
    """The SDK's verdict, and the JSON that it would send."""
    answer = client("encode", message=spec)
    return ("refuse", answer["text"]) if "raised" in answer else ("accept", answer["json"])


@pytest.fixture(params=["admin_6", "admin_7"])
def admin(request: pytest.FixtureRequest) -> Client:
    client: Client = request.getfixturevalue(request.param)
    return client


def entries(admin: Client, *, differing: bool) -> list[dict[str, Any]]:
    major = int(admin.version.split(".")[0])
    return [
        entry for entry in CORPUS if entry.get("since", 0) <= major and ("difference" in entry) == differing
    ]


def test_we_accept_and_refuse_what_the_sdk_does_and_send_the_same(admin: Client) -> None:
    disputed = {}
    for entry in entries(admin, differing=False):
        both = ours(entry["message"]), theirs(admin, entry["admin"])
        verdicts = {verdict for verdict, _ in both}
        if verdicts != {entry["verdict"]} or (verdicts == {"accept"} and both[0] != both[1]):
            disputed[entry["name"]] = both
    assert disputed == {}


def test_we_differ_where_and_how_the_table_says(admin: Client) -> None:
    disputed = {}
    for entry in entries(admin, differing=True):
        both = ours(entry["message"]), theirs(admin, entry["admin"])
        if (both[0][0], both[1][0]) != (entry["ours"], entry["theirs"]) or both[0] == both[1]:
            disputed[entry["name"]] = both
    assert disputed == {}


def test_every_difference_is_explained_and_every_explanation_is_needed() -> None:
    explained = re.findall(r"^\| `([a-z-]+)` \|", (HERE / "README.md").read_text(), re.MULTILINE)
    assert len(set(explained)) == len(explained)
    assert set(explained) == {entry["difference"] for entry in CORPUS if "difference" in entry}


def test_the_corpus_is_orderly() -> None:
    names = [entry["name"] for entry in CORPUS]
    assert len(set(names)) == len(names) > 150
    verdicts = [entry.get("verdict") for entry in CORPUS]
    assert min(verdicts.count("accept"), verdicts.count("refuse")) > 30


# Messages made by chance from what the SDK can say.

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
texts = st.dictionaries(
    text.filter(lambda key: key and not key.startswith(("google", "gcm")) and key not in {"from", "message_type"}),
    text,
    max_size=3,
)  # fmt: skip
label = st.from_regex(r"[a-zA-Z0-9_.~%-]{1,50}", fullmatch=True)
colour = st.from_regex(r"#[0-9a-f]{6}", fullmatch=True)
milliseconds = st.integers(0, 10_000)
times = st.datetimes(min_value=datetime(1970, 1, 1))  # noqa: DTZ001 - the SDK takes a naive time as UTC
free = st.recursive(
    st.none() | st.booleans() | st.integers(-1000, 1000) | text,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(text, inner, max_size=2),
    max_leaves=4,
)


def of(kind: str, **optional: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({"class": st.just(kind)}, optional=optional)


light = st.fixed_dictionaries(
    {
        "class": st.just("LightSettings"),
        "color": colour | colour.map(lambda rgb: rgb + "80"),
        "light_on_duration_millis": milliseconds,
        "light_off_duration_millis": milliseconds,
    }
)
android_notification = of(
    "AndroidNotification",
    title=text, body=text, icon=text, color=colour, sound=text, tag=text, click_action=text, channel_id=text,
    ticker=text, sticky=st.booleans(), local_only=st.booleans(), vibrate_timings_millis=st.lists(milliseconds),
    priority=st.sampled_from(["default", "min", "low", "high", "max"]), light_settings=light,
    visibility=st.sampled_from(["private", "public", "secret"]), notification_count=st.integers(0, 2**31 - 1),
    event_timestamp=times.map(lambda when: {"class": "datetime", "iso": when.isoformat()}),
    proxy=st.sampled_from(["allow", "deny", "if_priority_lowered"]),
)  # fmt: skip
android = of(
    "AndroidConfig",
    collapse_key=text, priority=st.sampled_from(["high", "normal"]), restricted_package_name=text, data=texts,
    ttl=st.integers(0, 2_419_200) | st.floats(0, 2_419_200), notification=android_notification,
    direct_boot_ok=st.booleans(), fcm_options=of("AndroidFCMOptions", analytics_label=label),
)  # fmt: skip
aps = of(
    "Aps",
    alert=text | of("ApsAlert", title=text, subtitle=text, body=text, launch_image=text),
    badge=st.integers(0, 99), sound=text.filter(bool), content_available=st.booleans(),
    mutable_content=st.booleans(), category=text, thread_id=text, custom_data=st.just({"relevance-score": 0.5}),
)  # fmt: skip
apns = of(
    "APNSConfig",
    headers=st.just({"apns-priority": "5", "apns-expiration": "1900000000"}),
    payload=aps.map(lambda block: {"class": "APNSPayload", "aps": block}),
    fcm_options=of("APNSFCMOptions", analytics_label=label, image=text),
    live_activity_token=text,
)
webpush = of(
    "WebpushConfig",
    headers=st.just({"TTL": "60", "Urgency": "low"}),
    data=texts,
    notification=of(
        "WebpushNotification",
        title=text, body=text, icon=text, badge=text, image=text, tag=text, language=text, data=free,
        direction=st.sampled_from(["auto", "ltr", "rtl"]), renotify=st.booleans(), silent=st.booleans(),
        timestamp_millis=st.integers(0, 2**41), vibrate=st.lists(st.integers(0, 1000), max_size=3),
    ),
    fcm_options=of("WebpushFCMOptions", link=text.map("https://".__add__)),
)  # fmt: skip
target = st.one_of(
    st.fixed_dictionaries({"token": text.filter(bool)}),
    st.fixed_dictionaries({"topic": label}),
    st.fixed_dictionaries({"condition": label.map(lambda topic: f"'{topic}' in topics")}),
)
message = st.builds(
    lambda where, what: {**what, **where},
    target,
    of(
        "Message",
        data=texts,
        notification=of("Notification", title=text, body=text, image=text),
        android=android,
        apns=apns,
        webpush=webpush,
        fcm_options=of("FCMOptions", analytics_label=label),
    ),
)


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(spec=message)
def test_whatever_the_sdk_encodes_we_accept_byte_for_byte(admin_7: Client, spec: dict[str, Any]) -> None:
    encoded = admin_7("encode", message=spec)["json"]
    raw = json.dumps(encoded, ensure_ascii=False).encode()
    read = read_message(raw)
    assert not isinstance(read, Refusal), read
    assert read.raw == raw
