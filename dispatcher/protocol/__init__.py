"""The wires, as pure functions between bytes and values: no clock, no dice, no sockets.

Every codec has both directions, what a client sends and reads and what a server reads and sends: the transports
use one half, the emulator the other, and one test vector serves both.

    contract.py   keys, fields and statuses in words; the README's tables
    job.py        one stream entry <-> Job
    message.py    the v1 Message resource: checked once, then one request body per target
    schema.py     its fields and their types
    rules.py      what FCM asks beyond types: keys, lengths, durations, the payload's size
    leisure.py    the long way to read one: other spellings, and what exactly is wrong
    multipart.py  multipart/mixed, reader and writer
    batch.py, batch_server.py
                  the `/batch` request and answer, by side
    answer.py     the v1 answer and error
    call.py       what the management services share: a call, authentication, errors
    instance_id.py, topic_subscription.py, apns_import.py, web_push.py, device_group.py
                  the management services
    outcome.py    the outcome entry and the history of a dead letter
"""
