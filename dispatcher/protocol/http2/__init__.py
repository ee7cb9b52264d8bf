"""HTTP/2, the client's side, for one job: many unary POSTs with the same headers on one connection.

    frames.py      the frame layer: types, flags, error codes, writing
    headers.py     header blocks: ours shrink to indexed bytes, theirs are seldom decoded
    streams.py     what both directions share: open requests, what is to be sent and told, patience with the peer
    requests.py    the way out: header blocks, bodies, the peer's windows
    answers.py     the way in: answers, padding, trailers, our windows
    connection.py  the whole: frames to the right place, SETTINGS, PING, GOAWAY, the end

No sockets, no clocks: `transport/http2.py` has those. Server push, priorities and upgrades do not exist here.
Sections in comments are those of RFC 9113, where not said otherwise.
"""
