from dispatcher.emulator.wire import html_reply, json_reply, not_found


def test_json_is_announced_as_json() -> None:
    reply = json_reply({"a": 1}, 400)
    assert (reply.status, reply.headers, reply.body) == (
        400,
        [("content-type", "application/json; charset=UTF-8")],
        b'{"a":1}',
    )


def test_a_front_ends_page_is_html() -> None:
    assert b"<b>413.</b>" in html_reply(413, "Too Large", "Too much.").body


def test_a_path_from_outside_cannot_put_markup_into_the_page() -> None:
    assert b"<script>" not in not_found("/<script>").body
