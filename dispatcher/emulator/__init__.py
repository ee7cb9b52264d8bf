"""A local FCM: the server side of every wire, with memory, quotas, scripted faults and an admin API.

A product feature, not a test helper: a team can test its push code without Google. The worker never imports it.
Everything but `server` and `connections` is plain code: one request in, one reply out, no socket, no clock of its own.

    server.py       the process: sockets, signals, delays, cut and truncated answers (`run`)
    app.py          which part answers which request (`Emulator.handle`)
    state.py        all that is remembered
    batch.py        POST /batch
    messages.py     POST /v1/projects/{p}/messages:send, and each part of a batch
    legacy.py       POST /fcm/send
    recipients.py   what becomes of a legacy message at one recipient
    reading.py      the request body, as strictly as FCM
    management.py   the management services: who may ask, and which call it is
    subscriptions.py, imports.py, groups.py
                    topics and what is known of tokens; APNs and web push imports; device groups
    judge.py        what they say of a token
    xmpp.py         XMPP: messages, receipts, upstream; one connection is xmpp_session.py, its socket xmpp_listener.py
    oauth.py        POST /token, and what an access token may do
    credentials.py  service-account files that point here
    faults.py       the scenario: rules, limits, quotas; when a rule fires
    limits.py       quota of a project, limits of devices and targets
    refusals.py     FCM's refusals by name
    registry.py     tokens, topics and device groups
    ledger.py       what arrived, how it was answered, and whom it reached
    calls.py        what the management services were asked
    admin.py        /_emulator/
    connections.py  cutting a client's connection
    wire.py         request and reply
"""
