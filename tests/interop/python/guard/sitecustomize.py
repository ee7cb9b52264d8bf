"""Loaded by every client process before anything else: the world ends at loopback.

A client that was not redirected fails loudly instead of reaching the real service, with a clear trace of what
it looked for. The standard library of that process is changed, the client's own package is not.
"""

import ipaddress
import socket
import sys

_getaddrinfo = socket.getaddrinfo
_connect = socket.socket.connect
_connect_ex = socket.socket.connect_ex


def _is_loopback(host):
    if host in (None, "", b"", "localhost"):
        return True
    try:
        return ipaddress.ip_address(host.decode() if isinstance(host, bytes) else host).is_loopback
    except ValueError:
        return False


def _check(host):
    if not _is_loopback(host):
        sys.stderr.write(f"refused: {host}\n")
        raise socket.gaierror(socket.EAI_NONAME, f"{host} is not on loopback")


def getaddrinfo(host, *arguments, **options):
    _check(host)
    return _getaddrinfo(host, *arguments, **options)


def connect(self, address):
    if self.family in (socket.AF_INET, socket.AF_INET6):
        _check(address[0])
    return _connect(self, address)


def connect_ex(self, address):
    if self.family in (socket.AF_INET, socket.AF_INET6):
        _check(address[0])
    return _connect_ex(self, address)


def gethostbyname(host):
    _check(host)
    return "127.0.0.1"


socket.getaddrinfo = getaddrinfo
socket.gethostbyname = gethostbyname
socket.socket.connect = connect
socket.socket.connect_ex = connect_ex
