"""Addresses of the web that a configuration or a command line names: whose pages may ask, where webhooks go."""

import ipaddress
from urllib.parse import SplitResult, urlsplit

USUAL_PORTS = {"http": 80, "https": 443}  # no browser says them


def check_origin(text: str) -> str:
    """The origin of a page, exactly as its browser sends it; ValueError for a pattern, a path, or what is none."""
    parts = _split(text)
    usual = parts.port == USUAL_PORTS.get(parts.scheme)
    if text != f"{parts.scheme}://{parts.netloc}".lower() or "*" in text or "@" in text or usual or not parts.hostname:
        raise ValueError("expected an origin as browsers send it, such as https://app.example or http://localhost:3000")
    return text


def check_webhook(text: str) -> str:
    """The URL that episodes are posted to; ValueError unless it is https, or http on this machine."""
    parts = _split(text)
    if not parts.hostname or "@" in parts.netloc or parts.fragment or not text.isascii() or not text.isprintable():
        raise ValueError("expected a URL such as https://home.example/hook, without user or password")
    if parts.scheme != "https" and not is_loopback(parts.hostname):
        raise ValueError("expected https: over http other machines could read it; or a receiver on this machine")
    return text


def is_loopback(host: str) -> bool:
    """Of this machine alone."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def _split(text: str) -> SplitResult:
    parts = urlsplit(text)
    if parts.scheme not in USUAL_PORTS:
        raise ValueError("expected http:// or https://")
    _ = parts.port  # ValueError for one that is none
    return parts
