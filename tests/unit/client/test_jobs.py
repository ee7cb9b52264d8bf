"""Pages of jobs: every token once, in order, in jobs that the worker takes, whatever way the tokens come."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher.client.jobs import LIMITS, Multicast, check_place, many, one
from dispatcher.protocol.job import DecodeLimits, decode_entry

HI = {"notification": {"title": "Hi"}}


def read(page):
    return [decode_entry("p", "normal", "1731000000000-0", [*job, *page.common], LIMITS) for job in page.jobs]


def fed(batches, **options):
    jobs = Multicast("p", HI, options.pop("limits", LIMITS), **options)
    pages = [page for batch in batches for page in jobs.feed(batch)]
    return [*pages, *jobs.feed((), last=True)]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 1300), max_size=6), st.booleans())
def test_the_way_of_feeding_makes_no_difference(sizes, keyed):
    tokens = [f"t{n}" for n in range(sum(sizes))]
    source = iter(tokens)
    options = {"dedup_key": "k"} if keyed else {}
    pages = fed([[next(source) for _ in range(size)] for size in sizes], **options)
    jobs = [job for page in pages for job in read(page)]
    assert [token for job in jobs for token in job.values] == tokens
    assert all(job.refusal is None for job in jobs)
    assert all(len(job.values) == 500 for job in jobs[:-1])
    assert [job.dedup_key for job in jobs] == [
        (f"k#{n}" if n else "k") if keyed else "" for n in range(len(jobs))
    ]
    assert sum(page.messages for page in pages) == len(tokens)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 900), min_size=1, max_size=400))
def test_jobs_keep_to_the_limit_however_long_tokens_are(lengths):
    tokens = ["x" * length for length in lengths]
    limits = DecodeLimits(max_job_bytes=2_000)
    pages = fed([tokens], limits=limits, campaign="spring")
    jobs = [
        decode_entry("p", "normal", "1731000000000-0", [*job, *page.common], limits)
        for page in pages
        for job in page.jobs
    ]
    assert [token for job in jobs for token in job.values] == tokens
    assert all(job.refusal is None for job in jobs)


def test_a_page_holds_about_a_megabyte():
    pages = fed([["x" * 160] * 500 for _ in range(40)])
    weights = [sum(len(value) for job in page.jobs for value in job) for page in pages]
    assert len(pages) > 2
    assert max(weights) < 1_010_000
    assert min(weights[:-1]) > 900_000


def test_what_many_messages_share_is_encoded_once():
    page = many("p", [{"token": "a"}, '{"topic":"news"}'], LIMITS, campaign="c")
    assert page.common == [b"campaign", b"c"]
    assert [(job.kind, job.campaign) for job in read(page)] == [("token", "c"), ("topic", "c")]


@pytest.mark.parametrize("place", [0, 1, 2])
def test_each_of_many_messages_is_checked(place):
    messages = [{"token": "a"}] * 3
    messages[place] = {"token": "a", "data": {"n": 1}}
    with pytest.raises(ValueError, match=r"message\.data\.n"):
        many("p", messages, LIMITS)
    assert len(many("p", messages, None).jobs) == 3


def test_cautions_of_all_messages_are_told():
    odd = {"token": "a", "apns": {"payload": {"aps": {"badge": "1"}}}}
    assert len(many("p", [odd, {"token": "a"}, odd], LIMITS).cautions) == 2
    assert len(one("p", odd, (), LIMITS).cautions) == 1


def test_one_job():
    page = one("p", HI, ("a", "b"), LIMITS, attributes={"user": 7})
    (job,) = read(page)
    assert (job.values, json.loads(job.attributes), page.messages) == (["a", "b"], {"user": 7}, 2)


@pytest.mark.parametrize("project", ["p", "example.com:p", "demo-orchard-41"])
def test_places(project):
    check_place(project, "high")


@pytest.mark.parametrize(
    ("project", "lane"), [("", "high"), ("a b", "high"), ("{a}", "high"), ("a", "due"), ("a", "")]
)
def test_no_places(project, lane):
    with pytest.raises(ValueError, match=r"lane|project"):
        check_place(project, lane)


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        ("abc\n", r"no token: found '\\n' in"),
        ("a b", "no token: found ' ' in 'a b'"),
        ("t\u00f6ken", "no token: byte 0xc3"),
        ('"abc"', "no token: found"),
        ("x" * 5000, "no token: 5000 bytes"),
    ],
    ids=["line end", "space", "not ASCII", "quotes", "too long"],
)
def test_what_can_be_no_token_is_refused_wherever_it_stands(token, reason):
    message = {"token": token, **HI}
    with pytest.raises(ValueError, match=f"message.token: {reason}"):
        one("p", message, [], LIMITS)
    with pytest.raises(ValueError, match=f"message.token: {reason}"):
        many("p", [{"token": "good", **HI}, message], LIMITS)
    with pytest.raises(ValueError, match=f"tokens: {reason}"):
        one("p", HI, ["good", token], LIMITS)
    with pytest.raises(ValueError, match=f"tokens: {reason}"):
        fed([["good"] * 700, [token]])
    assert one("p", message, [], None).messages == 1


def test_a_time_that_is_over_is_refused():
    with pytest.raises(ValueError, match="expires_at: found 1700000000, which is over; give a later time"):
        one("p", {"token": "a"}, [], LIMITS, expires_at=1700000000.0)
