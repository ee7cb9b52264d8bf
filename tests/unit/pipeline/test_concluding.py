"""dispatcher.pipeline.concluding: from the answers of a batch to what is written to Redis"""

import itertools
import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.model import (
    Action,
    Attempt,
    Batch,
    Disposition,
    ErrorCode,
    Fate,
    Job,
    JobState,
    Refusal,
    SendError,
    SendResponse,
    Status,
)
from dispatcher.pipeline.concluding import conclude, conclude_accepted, conclude_unsent, restrict
from dispatcher.pipeline.effects import Context
from dispatcher.pipeline.ordering import LATE
from dispatcher.pipeline.sending import HELD
from dispatcher.policy.settle import Rules
from dispatcher.queue.settlement import Hold

NOW = 1_731_000_100.0
AT = 1_731_000_000.0
ids = (f"1731000000000-{n}" for n in itertools.count())


def job(*values, fields=None, multicast=None, **more) -> Job:
    multicast = len(values) > 1 if multicast is None else multicast
    if fields is None:
        fields = [b"message", b'{"data":{}}']
        if multicast:
            fields += [b"tokens", json.dumps(values).encode()]
    facts = {
        "entry_id": next(ids),
        "stream": "normal",
        "project": "demo",
        "entry": fields,
        "nbytes": 100,
        "id": "order-7",
        "lane": "normal",
        "message": b"{}",
        "kind": "token",
        "values": list(values),
        "multicast": multicast,
        "enqueued_at": AT,
        "expires_at": AT + 86400,
        **more,
    }
    return Job(**facts)


def batch(*jobs: Job) -> Batch:
    return Batch("demo", "normal", list(jobs), size=sum(len(j.values) for j in jobs), nbytes=0, epoch=1)


def context(**more) -> Context:
    return Context(**{"now": NOW, "rules": Rules(), "chance": lambda: 0.0, "pauses": {}, **more})


def test_a_part_of_a_batch_keeps_its_own_answers_and_presets():
    first, second, third = job("a"), job("b", "c", multicast=True), job("d")
    responses = [name(str(number)) for number in range(4)]
    part, answers, presets = restrict(
        batch(first, second, third), responses, {2: HELD, 0: LATE}, {second.entry_id, third.entry_id}
    )
    assert [one.entry_id for one in part.jobs] == [second.entry_id, third.entry_id]
    assert (part.size, [r.message_id for r in answers], presets) == (3, ["1", "2", "3"], {1: HELD})


def name(text="projects/demo/messages/1") -> SendResponse:
    return SendResponse(text)


def answer(http=0, fcm="", rpc="", **more) -> SendResponse:
    more.setdefault("is_json", bool(fcm or rpc))
    fate = more.pop("fate", Fate.ANSWERED)
    return SendResponse(error=SendError(fate, http_status=http, fcm_code=fcm, rpc_status=rpc, **more))


GONE = answer(404, "UNREGISTERED", "NOT_FOUND", reason="not registered")
BUSY = answer(503, "UNAVAILABLE", "UNAVAILABLE", reason="busy")
WRONG = answer(400, "INVALID_ARGUMENT", "INVALID_ARGUMENT", reason="bad")
SLOW = answer(429, "QUOTA_EXCEEDED", "RESOURCE_EXHAUSTED", retry_after=7.0)
FOREIGN = answer(403, "SENDER_ID_MISMATCH", "PERMISSION_DENIED")
LOST = answer(fate=Fate.UNKNOWN, reason="no answer")
UNSENT = SendResponse()


def outcomes(settled) -> list[dict]:
    return json.loads(b"[" + settled.outcomes + b"]")


def waiting(settled) -> list[dict]:
    found = []
    for part in settled.delayed:
        flat = json.loads(part.fields)
        fields = dict(zip(flat[::2], flat[1::2], strict=True))
        fields["_state"] = json.loads(fields["_state"])
        found.append(fields)
    return found


def letter(flat: list[bytes]) -> dict[str, str]:
    return {n.decode(): v.decode() for n, v in zip(flat[::2], flat[1::2], strict=True)}


def concluded(one: Job, *responses: SendResponse, presets=None, **more):
    conclusion = conclude(batch(one), list(responses), presets or {}, context(**more))
    [settled] = conclusion.items
    return settled, conclusion


class TestOneMessage:
    def test_accepted(self):
        one = job("t")
        settled, conclusion = concluded(one, name())
        assert outcomes(settled) == [
            {
                "job": "order-7",
                "index": 0,
                "status": "accepted",
                "attempts": 1,
                "enqueued_at": AT,
                "settled_at": NOW,
                "target": {"token": "t"},
                "message_id": "projects/demo/messages/1",
                "http_status": 200,
            }
        ]
        assert settled.entry_id == one.entry_id
        assert settled.accepted
        assert (settled.delayed, settled.dead, settled.campaign, settled.dedup) == ([], [], None, None)
        assert conclusion.ended == {(Status.ACCEPTED, ""): 1}

    def test_accepted_after_retries(self):
        state = JobState("1-0", "bulk", AT, sends=2, replay=1, places=[4])
        settled, conclusion = concluded(job("t", state=state), name())
        [outcome] = outcomes(settled)
        assert (outcome["attempts"], outcome["replay"], outcome["index"]) == (3, 1, 4)
        assert "possible_duplicate" not in outcome
        assert conclusion.possible_duplicates == 0

    def test_accepted_after_a_send_whose_fate_is_unknown(self):
        state = JobState("1-0", "bulk", AT, sends=1, duplicate=True)
        settled, conclusion = concluded(job("t", state=state), name())
        assert outcomes(settled)[0]["possible_duplicate"] is True
        assert conclusion.possible_duplicates == 1

    @pytest.mark.parametrize("kind", ["token", "topic", "condition", "fid", "group"])
    def test_the_target_is_named_by_its_kind(self, kind):
        settled, _ = concluded(job("v", kind=kind), name())
        assert outcomes(settled)[0]["target"] == {kind: "v"}

    def test_attributes_and_campaign_are_carried(self):
        settled, _ = concluded(job("t", attributes=b'{"a":[1]}', campaign="c"), name())
        assert outcomes(settled)[0]["attributes"] == {"a": [1]}
        assert outcomes(settled)[0]["campaign"] == "c"
        assert settled.campaign == ("c", {"accepted": 1})

    def test_accepted_is_not_recorded_if_only_failures_are(self):
        settled, conclusion = concluded(job("t", campaign="c"), name(), failures_only=True)
        assert settled.outcomes == b""
        assert settled.accepted
        assert settled.campaign == ("c", {"accepted": 1})
        assert conclusion.ended == {(Status.ACCEPTED, ""): 1}

    def test_failures_are_recorded_if_only_failures_are(self):
        settled, _ = concluded(job("t"), GONE, failures_only=True)
        assert outcomes(settled)[0]["status"] == "invalid_token"

    def test_a_dead_token_is_no_dead_letter(self):
        settled, _ = concluded(job("t"), GONE)
        [outcome] = outcomes(settled)
        assert outcome["status"] == "invalid_token"
        assert outcome["code"] == "registration-token-not-registered"
        assert (outcome["reason"], outcome["http_status"], outcome["attempts"]) == ("not registered", 404, 1)
        assert not settled.accepted
        assert settled.dead == []

    def test_a_wrong_message_is_a_dead_letter_with_its_history(self):
        fields = [b"message", b'{"token":"t"}', b"id", b"order-7", b"odd", b"\xff", b"_state", b"{}"]
        state = JobState("1-0", "bulk", AT, sends=1, history=[Attempt(AT + 1, 503, "server-unavailable")])
        settled, _ = concluded(job("t", fields=fields, lane="bulk", state=state), WRONG)
        [flat] = settled.dead
        assert flat[:6] == fields[:6]
        kept = letter(flat[6:])
        assert json.loads(kept.pop("history")) == [
            {"at": AT + 1, "http_status": 503, "code": "server-unavailable"},
            {"at": NOW, "http_status": 400, "code": "invalid-argument"},
        ]
        assert json.loads(kept.pop("_state")) == {"id": "1-0", "lane": "bulk", "at": AT}
        assert kept == {
            "status": "rejected",
            "code": "invalid-argument",
            "reason": "bad",
            "lane": "bulk",
            "died_at": f"{NOW:.3f}",
        }

    def test_a_retry_waits_with_its_state(self):
        one = job("t")
        settled, conclusion = concluded(one, BUSY)
        assert settled.outcomes == b""
        assert not settled.accepted
        [part] = settled.delayed
        assert part.due == NOW + 1
        assert part.hold is None
        assert part.member == f"normal:{one.entry_id}:0:0"
        [fields] = waiting(settled)
        assert fields["message"] == '{"data":{}}'
        assert fields["_state"] == {
            "slot": 0.0,
            "id": one.entry_id,
            "lane": "normal",
            "at": AT,
            "sends": 1,
            "counted": 1,
            "history": [[NOW, 503, "server-unavailable"]],
        }
        assert conclusion.waits == {(Action.RETRY, "server-unavailable"): 1}
        assert not conclusion.ended

    def test_the_budget_puts_a_retry_off(self):
        settled, _ = concluded(job("t"), BUSY, extra_delay=30.0)
        assert settled.delayed[0].due == NOW + 31

    def test_a_send_of_unknown_fate_is_marked_when_it_is_repeated(self):
        settled, _ = concluded(job("t"), LOST)
        assert waiting(settled)[0]["_state"]["duplicate"] is True

    def test_a_send_of_unknown_fate_is_given_up_if_so_asked(self):
        settled, conclusion = concluded(job("t", on_unknown="give_up"), LOST)
        [outcome] = outcomes(settled)
        assert (outcome["status"], outcome["code"], outcome["possible_duplicate"]) == (
            "failed",
            "unknown-fate",
            True,
        )
        assert len(settled.dead) == 1
        assert conclusion.possible_duplicates == 0  # counted are accepted ones

    def test_the_last_attempt_fails_it(self):
        state = JobState("1-0", "normal", AT, sends=6, counted=4)
        settled, _ = concluded(job("t", state=state), BUSY)
        [outcome] = outcomes(settled)
        assert (outcome["status"], outcome["code"], outcome["attempts"]) == (
            "failed",
            "server-unavailable",
            7,
        )
        assert letter(settled.dead[0])["status"] == "failed"

    def test_a_retry_after_its_end_expires_it(self):
        settled, _ = concluded(job("t", expires_at=NOW + 0.5), BUSY)
        assert outcomes(settled)[0]["status"] == "expired"
        assert settled.delayed == []
        assert settled.dead == []

    def test_a_project_pause_is_told_and_the_message_waits(self):
        refused = answer(403, rpc="PERMISSION_DENIED", error_info="SERVICE_DISABLED")
        settled, conclusion = concluded(job("t"), refused)
        assert conclusion.pause is not None
        assert conclusion.pause.delay == 60
        assert settled.outcomes == b""
        assert settled.delayed[0].due == NOW + 60
        assert waiting(settled)[0]["_state"].get("counted", 0) == 0

    def test_a_code_that_is_the_projects_fault_ends_nothing(self):
        settled, conclusion = concluded(job("t"), FOREIGN, pausing={ErrorCode.MISMATCHED_CREDENTIAL})
        assert settled.outcomes == b""
        assert conclusion.pause is not None
        assert not conclusion.ended


class TestHolds:
    def test_a_throttled_target_is_held_for_what_it_asked(self):
        one = job("t")
        settled, _ = concluded(one, SLOW)
        [part] = settled.delayed
        assert part.hold == Hold(one.target(0).key, 0.25, NOW + 7)
        assert waiting(settled)[0]["_state"]["throttled"] == 1

    @pytest.mark.parametrize(("kind", "interval"), [("token", 0.25), ("topic", 1.0), ("condition", 1.0)])
    def test_the_slots_are_as_far_apart_as_the_kind_asks(self, kind, interval):
        settled, _ = concluded(job("v", kind=kind), SLOW)
        assert settled.delayed[0].hold.interval == interval

    def test_several_429s_of_one_target_in_one_batch_are_one_pause(self):
        chances = iter([0.9, 0.1, 0.5])
        jobs = [job("t"), job("t"), job("u")]
        conclusion = conclude(batch(*jobs), [SLOW] * 3, {}, context(chance=lambda: next(chances)))
        ends = [item.delayed[0].hold.until for item in conclusion.items]
        assert ends[0] == ends[1] == pytest.approx(NOW + 7 * 1.9)
        assert ends[2] == pytest.approx(NOW + 7 * 1.5)

    def test_a_newer_message_for_a_paused_target_joins_the_queue_unsent(self):
        one = job("t")
        settled, conclusion = concluded(one, UNSENT, presets={0: HELD})
        [part] = settled.delayed
        assert part.hold == Hold(one.target(0).key, 0.25, 0.0)
        assert waiting(settled)[0]["_state"] == {"id": one.entry_id, "lane": "normal", "at": AT}
        assert conclusion.waits == {(Action.PAUSE_TARGET, ""): 1}

    def test_a_message_held_again_keeps_what_it_carries_but_not_its_slot(self):
        state = JobState("1-0", "normal", AT, sends=1, throttled=1, slot=NOW - 1)
        settled, _ = concluded(job("t", state=state), SLOW)
        carried = waiting(settled)[0]["_state"]
        assert (carried["sends"], carried["throttled"]) == (2, 2)
        assert carried["slot"] == 0.0

    def test_what_expired_before_the_send_ends_unsent(self):
        settled, _ = concluded(job("t"), UNSENT, presets={0: LATE})
        [outcome] = outcomes(settled)
        assert (outcome["status"], outcome["attempts"]) == ("expired", 0)
        assert "http_status" not in outcome


class TestMulticast:
    def test_mixed_answers_end_in_one_settlement(self):
        many = job("a", "b", "c", "d", "e", campaign="x", dedup_key="k")
        settled, conclusion = concluded(many, name("m/1"), GONE, BUSY, WRONG, BUSY)
        # The good twins prove that the bare "invalid argument" means the token.
        assert [(o["index"], o["status"]) for o in outcomes(settled)] == [
            (0, "accepted"),
            (1, "invalid_token"),
            (3, "invalid_token"),
        ]
        assert [o["target"]["token"] for o in outcomes(settled)] == ["a", "b", "d"]
        [fields] = waiting(settled)
        assert json.loads(fields["tokens"]) == ["c", "e"]
        assert fields["_state"]["places"] == [2, 4]
        assert settled.delayed[0].member == f"normal:{many.entry_id}:0:2"
        assert settled.campaign == ("x", {"accepted": 1, "invalid_token": 2})
        assert settled.dedup is None
        assert not settled.accepted
        assert conclusion.ended[Status.INVALID_TOKEN, "registration-token-not-registered"] == 1
        assert conclusion.waits == {(Action.RETRY, "server-unavailable"): 2}

    def test_retries_of_one_reason_stay_together_for_the_longest_delay(self):
        chances = iter([0.2, 0.9, 0.4])
        settled, _ = concluded(job("a", "b", "c"), BUSY, BUSY, BUSY, chance=lambda: next(chances))
        [part] = settled.delayed
        assert part.due == pytest.approx(NOW + 1.9)
        assert json.loads(waiting(settled)[0]["tokens"]) == ["a", "b", "c"]

    def test_retries_of_different_reasons_part(self):
        settled, _ = concluded(job("a", "b", "c"), BUSY, LOST, BUSY)
        assert [json.loads(f["tokens"]) for f in waiting(settled)] == [["a", "c"], ["b"]]
        assert [f["_state"].get("duplicate", False) for f in waiting(settled)] == [False, True]
        assert len({part.member for part in settled.delayed}) == 2

    def test_each_held_token_waits_for_its_own_slot(self):
        many = job("a", "b", "c")
        settled, _ = concluded(many, SLOW, name(), SLOW)
        assert [part.hold.target for part in settled.delayed] == [many.target(0).key, many.target(2).key]
        assert [json.loads(f["tokens"]) for f in waiting(settled)] == [["a"], ["c"]]

    def test_all_accepted_counts_from_anyone(self):
        settled, _ = concluded(job("a", "b"), name(), name())
        assert settled.accepted

    def test_dead_letters_are_cut_to_the_dead_tokens_by_reason(self):
        used_up = JobState("1-0", "normal", AT, sends=4, counted=4, places=[5, 6, 7, 8])
        settled, _ = concluded(job("a", "b", "c", "d", state=used_up), BUSY, GONE, BUSY, LOST)
        letters = [letter(flat) for flat in settled.dead]
        assert [json.loads(one["tokens"]) for one in letters] == [["a", "c"], ["d"]]
        assert [one["code"] for one in letters] == ["server-unavailable", "unknown-fate"]
        assert [(o["index"], o["status"]) for o in outcomes(settled)] == [
            (5, "failed"),
            (6, "invalid_token"),
            (7, "failed"),
            (8, "failed"),
        ]

    def test_one_token_in_tokens_is_still_a_multicast(self):
        settled, _ = concluded(job("a", multicast=True), BUSY)
        assert json.loads(waiting(settled)[0]["tokens"]) == ["a"]

    def test_a_bare_invalid_argument_without_a_twin_blames_the_message(self):
        settled, _ = concluded(job("a", "b"), WRONG, WRONG)
        assert {o["status"] for o in outcomes(settled)} == {"rejected"}

    def test_a_sibling_that_was_not_sent_is_no_twin(self):
        """A held message has no error, because it has no answer: that proves nothing of the payload."""
        settled, _ = concluded(job("a", "b", "c"), UNSENT, WRONG, UNSENT, presets={0: HELD, 2: LATE})
        assert {o["index"]: o["status"] for o in outcomes(settled)} == {1: "rejected", 2: "expired"}
        assert [json.loads(f["tokens"]) for f in waiting(settled)] == [["a"]]

    def test_presets_stand_at_their_numbers_in_a_mixed_batch(self):
        jobs = [job("a"), job("b", "c"), job("d")]
        conclusion = conclude(
            batch(*jobs), [name("1"), UNSENT, name("2"), UNSENT], {1: HELD, 3: LATE}, context()
        )
        assert [len(item.delayed) for item in conclusion.items] == [0, 1, 0]
        assert [o["target"]["token"] for item in conclusion.items for o in outcomes(item)] == ["a", "c", "d"]
        assert [item.accepted for item in conclusion.items] == [True, False, False]


class TestDeduplication:
    def test_a_job_that_ends_otherwise_frees_its_key(self):
        one = job("t", dedup_key="k", lane="bulk")
        settled, _ = concluded(one, GONE)
        assert settled.dedup == ("k", f"bulk:{one.entry_id}")

    def test_after_a_retry_the_key_is_still_known_by_its_first_entry(self):
        one = job("t", dedup_key="k", state=JobState("77-0", "high", AT, sends=1), lane="high")
        settled, _ = concluded(one, GONE)
        assert settled.dedup == ("k", "high:77-0")

    @pytest.mark.parametrize("response", [name(), BUSY, SLOW])
    def test_a_job_that_was_accepted_or_waits_keeps_it(self, response):
        settled, _ = concluded(job("t", dedup_key="k"), response)
        assert settled.dedup is None

    def test_one_accepted_token_keeps_it(self):
        settled, _ = concluded(job("a", "b", dedup_key="k"), GONE, name())
        assert settled.dedup is None


class TestUnsent:
    def test_a_refused_job_is_rejected_with_its_own_reason(self):
        refused = job(refusal=Refusal(ErrorCode.INVALID_PAYLOAD, "message: broken"), campaign="c")
        conclusion = conclude_unsent(
            [refused], Disposition(Action.FIX_REQUEST, status=Status.REJECTED), context()
        )
        [settled] = conclusion.items
        [outcome] = outcomes(settled)
        assert (outcome["status"], outcome["code"], outcome["reason"]) == (
            "rejected",
            "invalid-payload",
            "message: broken",
        )
        assert outcome["attempts"] == 0
        assert "target" not in outcome
        assert letter(settled.dead[0])["history"] == "[]"
        assert settled.campaign == ("c", {"rejected": 1})

    def test_a_duplicate_names_the_first(self):
        verdict = Disposition(Action.OK, status=Status.DUPLICATE, duplicate_of="1-0")
        [settled] = conclude_unsent([job("t", dedup_key="k")], verdict, context()).items
        [outcome] = outcomes(settled)
        assert (outcome["status"], outcome["duplicate_of"]) == ("duplicate", "1-0")
        assert settled.dead == []

    def test_what_is_put_back_by_a_pause_waits_as_it_was(self):
        state = JobState("1-0", "bulk", AT, sends=2, counted=1, places=[3, 9])
        verdict = Disposition(Action.PAUSE_PROJECT, delay=60.0, counted=False)
        jobs = [job("a", "b", state=state), job("c")]
        conclusion = conclude_unsent(jobs, verdict, context())
        first, second = conclusion.items
        assert first.delayed[0].due == second.delayed[0].due == NOW + 60
        assert waiting(first)[0]["_state"] == msgspec.to_builtins(state)
        assert json.loads(waiting(first)[0]["tokens"]) == ["a", "b"]
        assert first.delayed[0].member == "bulk:1-0:0:3"
        assert conclusion.pause is None
        assert (first.outcomes, first.dead) == (b"", [])


class TestPlainAndAccepted:
    """The short way of a batch on a good day, against the long one."""

    @given(
        st.lists(
            st.tuples(
                st.sampled_from(["token", "topic", "condition", "fid"]),
                st.text(max_size=9),
                st.text(max_size=9),
                st.floats(0, 2e9, allow_nan=False),
                # What is nothing to an outcome.
                st.sampled_from([{}, {"dedup_key": "k"}, {"validate_only": True}, {"multicast": True}]),
            ),
            min_size=1,
            max_size=9,
        )
    )
    def test_its_outcomes_are_those_of_the_long_way(self, messages):
        whole = batch(
            *(
                job(value, kind=kind, id=named, enqueued_at=at, **more)
                for kind, value, named, at, more in messages
            )
        )
        responses = [name(f"projects/demo/messages/{number}") for number in range(len(messages))]
        conclusion = conclude(whole, responses, {}, context())
        assert all(
            item.accepted and not (item.delayed or item.dead or item.campaign) for item in conclusion.items
        )
        found = conclude_accepted(whole, responses, context())
        assert found == b"[" + b",".join(item.outcomes for item in conclusion.items) + b"]"

    def test_nothing_is_recorded_if_only_failures_are(self):
        assert conclude_accepted(batch(job("t"), job("u")), [name()] * 2, context(failures_only=True)) == b""

    @pytest.mark.parametrize("failures_only", [False, True])
    @pytest.mark.parametrize(
        "more",
        [
            {"values": ("t", "u")},
            {"state": JobState("1-0", "bulk", AT, sends=1)},
            {"campaign": "c"},
            {"attributes": b"{}"},
            {"operation": "token.info"},
        ],
        ids=lambda more: next(iter(more)),
    )
    def test_a_batch_with_a_job_that_is_not_plain_goes_the_long_way(self, more, failures_only):
        odd = job(*more.get("values", ("t",)), **{k: v for k, v in more.items() if k != "values"})
        whole = batch(job("s"), odd)
        assert conclude_accepted(whole, [name()] * whole.size, context(failures_only=failures_only)) is None

    @pytest.mark.parametrize("failures_only", [False, True])
    @pytest.mark.parametrize(
        "odd",
        [
            GONE,
            SLOW,
            LOST,
            SendResponse("m/1", replacement_token="new"),
            SendResponse(result=b"{}"),
            SendResponse("m/1", failed_tokens=("u",)),
        ],
        ids=["gone", "slow", "lost", "replaced", "result", "failed members"],
    )
    def test_a_batch_with_an_answer_that_is_not_plain_goes_the_long_way(self, odd, failures_only):
        whole = batch(job("s"), job("t"))
        assert conclude_accepted(whole, [name(), odd], context(failures_only=failures_only)) is None
