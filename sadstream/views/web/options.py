"""What a server was asked to be, checked before anything opens: who may look, from where, at what."""

import hmac
import re
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sadstream.base.errors import ConfigError, MissingFileError, UsageError
from sadstream.base.files import contents
from sadstream.config import web_address
from sadstream.events import endpoint as address
from sadstream.events.keys import lets_others_read

DASHBOARD_PORT, WEB_PORT = 8750, 8751
LEAST_TOKEN = 22  # letters: 128 bits in base 64
EVERYWHERE = frozenset({"0.0.0.0", "::", "[::]"})  # noqa: S104  what is asked for, not what is bound
NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Where it is served, and what is shown of which daemon."""

    endpoint: str
    host: str = "127.0.0.1"
    port: int = DASHBOARD_PORT
    names: tuple[str, ...] = ()  # by which other machines call this one
    token: str | None = None
    certificate: Path | None = None
    private_key: Path | None = None
    words: bool = False
    journal: Path | None = None
    config: Path | None = None
    server_key: str | None = None
    secret_key: Path | None = None
    origins: tuple[str, ...] = ()  # of pages elsewhere that may ask
    webhooks: tuple[str, ...] = ()  # URLs that episodes are posted to
    webhook_secret: bytes | None = None
    keys: Mapping[str, str] = field(default_factory=dict)  # of a configuration, which stand for options

    def spelt(self, option: str, value: str = "") -> str:
        """An option, with its value if it is given, as whoever set it spelt it."""
        if option in self.keys:
            return f"{self.keys[option]} = {value}" if value else self.keys[option]
        return f"--{option} {value}" if value else f"--{option}"

    @property
    def is_local(self) -> bool:
        """Only programs of this machine can connect."""
        return web_address.is_loopback(self.host)

    @property
    def scheme(self) -> str:
        """https with a certificate."""
        return "http" if self.certificate is None else "https"

    @property
    def hosts(self) -> frozenset[str]:
        """The Host headers that are ours; any other is a page of somebody else whose name was pointed at us."""
        named = {"127.0.0.1", "localhost", "[::1]"} if self.is_local else {_bracketed(self.host)} - EVERYWHERE
        names = {name.lower() for name in (*named, *self.names)}
        default = 443 if self.certificate else 80
        return frozenset({f"{name}:{self.port}" for name in names} | (names if self.port == default else set()))

    @property
    def can_pause(self) -> bool:
        """The control socket is on this machine, so a daemon elsewhere cannot be paused from here."""
        return address.is_local(self.endpoint)


def check(options: Options) -> Options:
    """The options; UsageError for what cannot be, ConfigError for a page that others could reach unguarded."""
    try:
        address.check(options.endpoint)
    except ValueError as error:
        raise UsageError(f"--endpoint {options.endpoint}: {error}") from None
    if (options.certificate is None) != (options.private_key is None):
        raise ConfigError(f"{options.spelt('tls-cert')} and {options.spelt('tls-key')}: expected both or none")
    if not options.is_local and (options.token is None or options.certificate is None):
        needed = f"{options.spelt('token')}, {options.spelt('tls-cert')} and {options.spelt('tls-key')}"
        raise ConfigError(
            f"{options.spelt('host', options.host)}: other machines could connect; expected {needed} "
            f"(or leave out {options.spelt('host')}: this machine alone)"
        )
    for name in options.names:
        if NAME.fullmatch(name) is None:
            raise UsageError(f"{options.spelt('name', repr(name))}: expected a host's name, without port")
    if options.host in EVERYWHERE and not options.names:
        raise ConfigError(
            f"{options.spelt('host', options.host)}: expected {options.spelt('name')} too: "
            "what browsers call this machine"
        )
    if options.certificate is not None and options.private_key is not None:
        _check_pair(options.certificate, options.private_key)
    _check_each("--origin", options.origins, web_address.check_origin)
    _check_each("--webhook", options.webhooks, web_address.check_webhook)
    if options.webhooks and options.webhook_secret is None:
        raise ConfigError(
            "--webhook: expected --webhook-secret-file too: receivers know by it that a message is ours "
            "(umask 077; openssl rand -hex 32 > webhook.secret)"
        )
    return options


def read_token(path: Path, what: str = "token") -> str:
    """The token in a file; ConfigError if others can read it or it could be guessed (it is never repeated)."""
    text = _private(path, what).strip()
    if len(text) < LEAST_TOKEN or not text.isascii() or not text.isprintable() or " " in text:
        raise ConfigError(f"{path}: expected a {what} of at least {LEAST_TOKEN} letters on one line")
    return text


def same(one: str, other: str) -> bool:
    """Equal, in a time that tells nothing of where they differ."""
    return hmac.compare_digest(one.encode(), other.encode())


def _check_each(option: str, texts: tuple[str, ...], check_one: Callable[[str], str]) -> None:
    for text in texts:
        try:
            check_one(text)
        except ValueError as error:
            raise UsageError(f"{option} {text}: {error}") from None


def _private(path: Path, what: str) -> str:
    try:
        content, mode = contents(path)
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such {what}; expected a file of yours, mode 600") from None
    except OSError as error:
        raise ConfigError(f"{path}: {what} cannot be read: {error.strerror}") from None
    if lets_others_read(path, mode):
        raise ConfigError(f"{path}: mode {mode:04o} lets others read the {what}; chmod 600 {path}")
    return content.decode("utf-8-sig", errors="replace")


def _check_pair(certificate: Path, private_key: Path) -> None:
    if not certificate.exists():
        raise MissingFileError(f"{certificate}: no such certificate")
    try:
        contents(certificate)  # OpenSSL reads a device without an end to it
    except OSError as error:
        raise ConfigError(f"{certificate}: certificate cannot be read: {error.strerror}") from None
    _private(private_key, "TLS key")
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(certificate, private_key, password=b"")
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{certificate}, {private_key}: expected a PEM certificate and its key, without a password: "
            f"{getattr(error, 'reason', None) or error.__class__.__name__}"
        ) from None


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host and not host.startswith("[") else host
