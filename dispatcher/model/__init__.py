"""The values that travel through the service; every floor above speaks in these.

`names` the words, `job` what goes in, `answer` what comes out. What exists once per message is an unfrozen
`msgspec.Struct` (about 100 ns to build where a frozen dataclass takes 700 ns) and is never mutated after the stage that
made it has passed it on. Times are Unix seconds on the Redis clock unless a name says otherwise; delays are seconds.
"""

from dispatcher.model.answer import Disposition, Fate, Outcome, SendError, SendResponse
from dispatcher.model.job import (
    KIND_LETTERS,
    MANAGEMENT,
    Attempt,
    Batch,
    Caution,
    CautionCode,
    Job,
    JobState,
    Lifetimes,
    Refusal,
    Target,
)
from dispatcher.model.names import (
    DEAD_STATUSES,
    LANES,
    STREAMS,
    Action,
    ErrorCode,
    Lane,
    OnUnknown,
    Status,
    Stream,
    TargetKind,
    Wire,
)

__all__ = [
    "DEAD_STATUSES",
    "KIND_LETTERS",
    "LANES",
    "MANAGEMENT",
    "STREAMS",
    "Action",
    "Attempt",
    "Batch",
    "Caution",
    "CautionCode",
    "Disposition",
    "ErrorCode",
    "Fate",
    "Job",
    "JobState",
    "Lane",
    "Lifetimes",
    "OnUnknown",
    "Outcome",
    "Refusal",
    "SendError",
    "SendResponse",
    "Status",
    "Stream",
    "Target",
    "TargetKind",
    "Wire",
]
