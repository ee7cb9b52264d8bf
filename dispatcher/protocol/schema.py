"""The v1 Message resource, field by field (v1 wire rules, section 2).

One declaration decodes and checks types in the same pass over the bytes; unknown names are refused, as FCM
refuses them. `null` is an unset field, as everywhere in proto3 JSON. Enumerations are read as text or number here
and checked in rules.py, since FCM takes them in any case.
"""

from __future__ import annotations

from typing import Any

import msgspec

Text = str | None
Flag = bool | None
Texts = dict[str, str] | None
Choice = str | int | None
"""An enumeration's name, in any case, or its number."""
Number = int | float | str | None
"""A number, which proto3 JSON may also write as text; rules.py looks into it."""


class Notification(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """The template for all platforms."""

    title: Text = None
    body: Text = None
    image: Text = None


class FcmOptions(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """Options of the common block and of Android."""

    analytics_label: Text = None


class ApnsFcmOptions(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """Options of Apple's block."""

    analytics_label: Text = None
    image: Text = None


class WebpushFcmOptions(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """Options of the web block."""

    link: Text = None
    analytics_label: Text = None


class Color(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """Parts from 0 to 1; without alpha it is opaque."""

    red: Number = None
    green: Number = None
    blue: Number = None
    alpha: Number = None


class LightSettings(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """The one block whose fields are all required."""

    color: Color
    light_on_duration: str
    light_off_duration: str


class AndroidNotification(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """What Android shows, in place of the common template."""

    title: Text = None
    body: Text = None
    icon: Text = None
    color: Text = None
    sound: Text = None
    tag: Text = None
    click_action: Text = None
    body_loc_key: Text = None
    body_loc_args: list[str] | None = None
    title_loc_key: Text = None
    title_loc_args: list[str] | None = None
    channel_id: Text = None
    image: Text = None
    proxy: Choice = None
    ticker: Text = None
    sticky: Flag = None
    event_time: Text = None
    local_only: Flag = None
    notification_priority: Choice = None
    default_sound: Flag = None
    default_vibrate_timings: Flag = None
    default_light_settings: Flag = None
    vibrate_timings: list[str] | None = None
    visibility: Choice = None
    notification_count: Number = None
    light_settings: LightSettings | None = None
    bypass_proxy_notification: Flag = None


class AndroidConfig(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """Android's block."""

    collapse_key: Text = None
    priority: Choice = None
    ttl: Text = None
    restricted_package_name: Text = None
    data: Texts = None
    notification: AndroidNotification | None = None
    fcm_options: FcmOptions | None = None
    direct_boot_ok: Flag = None
    bandwidth_constrained_ok: Flag = None
    restricted_satellite_ok: Flag = None


class WebpushConfig(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """The web's block; `notification` is free JSON."""

    headers: Texts = None
    data: Texts = None
    # Any rather than Raw: a skipped value is not checked for valid UTF-8, and these bytes go out unchanged.
    notification: dict[str, Any] | None = None
    fcm_options: WebpushFcmOptions | None = None


class ApnsConfig(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """Apple's block; `payload` is free JSON."""

    headers: Texts = None
    payload: dict[str, Any] | None = None
    fcm_options: ApnsFcmOptions | None = None
    live_activity_token: Text = None


class Message(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """The resource; exactly one of token, topic, condition and fid is its target."""

    token: Text = None
    topic: Text = None
    condition: Text = None
    fid: Text = None
    data: Texts = None
    notification: Notification | None = None
    android: AndroidConfig | None = None
    webpush: WebpushConfig | None = None
    apns: ApnsConfig | None = None
    fcm_options: FcmOptions | None = None
    name: Text = None  # output only; FCM ignores it on input
    android_v2: dict[str, Any] | None = None  # a preview that still changes: passed through


Block = type[msgspec.Struct]

BLOCKS: dict[str, Block] = {
    "": Message,
    "notification": Notification,
    "android": AndroidConfig,
    "android.notification": AndroidNotification,
    "android.notification.light_settings": LightSettings,
    "android.notification.light_settings.color": Color,
    "android.fcm_options": FcmOptions,
    "webpush": WebpushConfig,
    "webpush.fcm_options": WebpushFcmOptions,
    "apns": ApnsConfig,
    "apns.fcm_options": ApnsFcmOptions,
    "fcm_options": FcmOptions,
}
"""The structure by path: where names are FCM's, so that camelCase may be meant; elsewhere they are the producer's own."""

TEXT_MAPS = ("data", "android.data", "webpush.data", "webpush.headers", "apns.headers")
"""The paths whose values must all be strings."""
