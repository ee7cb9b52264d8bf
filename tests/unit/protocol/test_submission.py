"""What a producer writes is what a worker reads."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher.protocol.job import DecodeLimits, decode_entry
from dispatcher.protocol.submission import encode_message, encode_options, encode_tokens

AT = 1731000000.0


def decode(fields):
    return decode_entry("p", "normal", f"{int(AT * 1000)}-0", fields, DecodeLimits())


@settings(max_examples=60)
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "id": st.text(min_size=1, max_size=5),
            "deliver_at": st.floats(1, AT + 86000).map(lambda at: round(at, 6)),
            "expires_at": st.floats(AT + 86001, 4e9).map(lambda at: round(at, 6)),
            "dedup_key": st.text(max_size=5),
            "on_unknown": st.sampled_from(["resend", "give_up"]),
            "campaign": st.text(max_size=5),
            "validate_only": st.booleans(),
            "delivery_receipt": st.booleans(),
        },
    )
)
def test_what_a_producer_asks_for_is_what_is_read(options):
    job = decode([b"message", encode_message({"token": "a"}), *encode_options(**options)])
    assert job.refusal is None
    for name, value in options.items():
        assert getattr(job, name) == value


@pytest.mark.parametrize(
    "message", [{"data": {"k": "é"}}, '{"data":{"k":"é"}}', '{"data":{"k":"é"}}'.encode()]
)
def test_a_producer_gives_a_message_in_any_form(message):
    raw = encode_message(message)
    job = decode(
        [b"message", raw, b"tokens", encode_tokens(("a", "b")), *encode_options(attributes={"n": 1})]
    )
    assert (job.values, job.attributes) == (["a", "b"], b'{"n":1}')
    assert decode([b"message", raw, *encode_options(group="g")]).kind == "group"


def test_what_is_empty_is_left_out():
    assert encode_options(id="", deliver_at=0.0, on_unknown="resend", validate_only=False) == []
    assert encode_options(attributes=0) == [b"attributes", b"0"]


@pytest.mark.parametrize("tokens", [["a", 7], ["a", None], [b"a"], ["\ud800"]])
def test_a_token_that_is_no_text_is_refused(tokens):
    with pytest.raises(TypeError):
        encode_tokens(tokens)


@given(st.lists(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=4), max_size=4))
def test_tokens_are_written_as_json(tokens):
    assert json.loads(encode_tokens(tokens)) == tokens
