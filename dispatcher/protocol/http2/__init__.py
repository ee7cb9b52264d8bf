"""HTTP/2, the client's side, for one job: many unary POSTs with the same headers on one connection.

    frames.py      the frame layer: types, flags, error codes, writing
    headers.py     header blocks: ours shrink to indexed bytes, theirs are seldom decoded
    connection.py  streams, flow control, settings, GOAWAY: bytes in, answers and bytes out

No sockets, no clocks: `transport/http2.py` has those. Server push, priorities and upgrades do not exist here.
"""
