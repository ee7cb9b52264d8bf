"""fcm-dispatcher: push jobs from Redis streams to Firebase Cloud Messaging, one outcome per message."""

__version__ = "0.1.0"
