from __future__ import annotations

from structlog.testing import CapturingLogger

from dispatcher.model import JobState
from dispatcher.pipeline.warned import SAY_EVERY_S, Warned
from dispatcher.protocol.job import DecodeLimits, decode_entry
from dispatcher.telemetry.metrics import Metrics

BADGE = b'{"token":"t","apns":{"payload":{"aps":{"badge":"42"}}}}'
TWO = b'{"token":"t","data":{"collapse_key":"x"},"apns":{"payload":{"aps":{"badge":"42"}}}}'


def job(message, number=0):
    return decode_entry("demo", "normal", f"1731000000000-{number}", [b"message", message], DecodeLimits())


def test_warnings_are_counted_by_kind():
    metrics = Metrics("")
    warned = Warned(metrics, CapturingLogger())
    warned.saw("demo", [job(BADGE), job(TWO)], 0.0)
    warned.saw("demo", [job(BADGE)], 1.0)
    assert metrics.message_warnings.of("demo", "apns-badge").value == 3
    assert metrics.message_warnings.of("demo", "data-collapse-key").value == 1


def test_a_project_gets_one_line_a_minute_with_the_number_of_jobs_since():
    log = CapturingLogger()
    warned = Warned(Metrics(""), log)
    for second in range(int(SAY_EVERY_S) + 1):
        warned.saw("demo", [job(BADGE, second), job(BADGE, 1000 + second)], float(second))
    warned.saw("other", [job(TWO)], 1.0)
    lines = [call.kwargs for call in log.calls]
    assert [(line["project"], line["jobs"]) for line in lines] == [("demo", 2), ("demo", 120), ("other", 1)]
    assert lines[0]["job"] == "1731000000000-0"
    assert lines[0]["code"] == "apns-badge"
    assert lines[0]["reason"].startswith('message.apns.payload.aps.badge: found the string "42"; ')


def test_a_message_that_is_sent_again_was_counted_before():
    metrics, log = Metrics(""), CapturingLogger()
    again = job(BADGE)
    again.state = JobState("1-0", "normal", 0.0, sends=1)
    Warned(metrics, log).saw("demo", [again], 0.0)
    assert metrics.message_warnings.of("demo", "apns-badge").value == 0
    assert log.calls == []
