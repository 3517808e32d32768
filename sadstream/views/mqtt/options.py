"""What a bridge was asked to be, checked before anything opens: which broker, as whom, which daemons."""

import re
from dataclasses import dataclass
from pathlib import Path

from sadstream.base.errors import ConfigError, MissingFileError, UsageError
from sadstream.base.files import contents
from sadstream.config.tables import MqttConfig
from sadstream.events import endpoint as address
from sadstream.events.keys import credential, lets_others_read
from sadstream.views.mqtt.topics import named

PORT, TLS_PORT = 1883, 8883
PASSWORD_CREDENTIAL = "mqtt.password"  # noqa: S105  a file that systemd's LoadCredential= provides
BROKER = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\s:/@\[\]]+))(?::([0-9]{1,5}))?")


@dataclass(frozen=True, slots=True)
class HeardDaemon:
    """A daemon to listen to, and what it is called on the broker."""

    name: str
    endpoint: str
    server_key: str | None = None
    secret_key: str | None = None

    @property
    def is_local(self) -> bool:
        """Its control socket is on this machine, if it has one."""
        return address.is_local(self.endpoint)


@dataclass(frozen=True, slots=True)
class BrokerLogin:
    """Where the broker is, and how it is asked to let us in."""

    host: str
    port: int
    username: str | None
    password: str | None
    tls_ca: Path | None

    @property
    def shown(self) -> str:
        """Host and port."""
        return f"{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class BridgeOptions:
    """All that `sadstream mqtt` needs to know."""

    login: BrokerLogin
    daemons: tuple[HeardDaemon, ...]
    topic: str
    discovery: str
    words: bool
    pause: bool


def bridge_options(config: MqttConfig, endpoints: tuple[str, ...], host: str) -> BridgeOptions:
    """The options that a table and a command line come to; `host` is this machine's name.

    Raises UsageError for what cannot be, ConfigError for a password that others could read, here or on the way.
    """
    daemons = tuple(_daemon(text, host, config) for text in endpoints)
    names = [daemon.name for daemon in daemons]
    if len(set(names)) < len(names):
        raise UsageError(f"--endpoint: two daemons would both be called so: {', '.join(names)}; expected NAME=ENDPOINT")
    return BridgeOptions(_login(config), daemons, config.topic, config.discovery, config.words, config.pause)


def _daemon(text: str, host: str, config: MqttConfig) -> HeardDaemon:
    try:
        name, endpoint = named(text, host)
    except ValueError as error:
        raise UsageError(f"--endpoint {text}: {error}, with NAME= before it or not") from None
    if address.is_local(endpoint):
        return HeardDaemon(name, endpoint)
    return HeardDaemon(name, endpoint, config.server_key, config.secret_key)


def _login(config: MqttConfig) -> BrokerLogin:
    if config.broker is None:
        raise UsageError("mqtt: no broker; name one with --broker HOST, or [mqtt] broker in --config")
    found = BROKER.fullmatch(config.broker)
    port = int(found[3]) if found and found[3] else TLS_PORT if config.tls_ca else PORT
    if found is None or not 0 < port < 65_536:
        raise UsageError(f"--broker {config.broker}: expected HOST or HOST:PORT, without mqtt://")
    host = found[1] or found[2]
    if config.tls_ca is None and not config.insecure and not address.is_local(f"tcp://{host}:{port}"):
        raise ConfigError(
            f"--broker {host}: password and scores would cross the network in plain; expected --tls-ca FILE, "
            "or --insecure where nobody else is on that network"
        )
    tls_ca = None if config.tls_ca is None else Path(config.tls_ca)
    if tls_ca is not None and not tls_ca.exists():
        raise MissingFileError(f"{tls_ca}: no such certificate; expected the authority that signed the broker's, PEM")
    path = Path(config.password_file) if config.password_file else credential(PASSWORD_CREDENTIAL)
    if path is not None and config.username is None:
        raise UsageError(f"{path}: a password alone; expected --username too, or [mqtt] username")
    return BrokerLogin(host, port, config.username, None if path is None else read_password(path), tls_ca)


def read_password(path: Path) -> str:
    """The password in a file, its line end left out; ConfigError if others can read it (it is never repeated)."""
    try:
        content, mode = contents(path)
    except FileNotFoundError:
        raise MissingFileError(f"{path}: no such password; expected a file of yours, mode 600, that holds it") from None
    except OSError as error:
        raise ConfigError(f"{path}: password cannot be read: {error.strerror}") from None
    if lets_others_read(path, mode):
        raise ConfigError(f"{path}: mode {mode:04o} lets others read the password; chmod 600 {path}")
    try:
        password = content.decode("utf-8-sig").rstrip("\r\n")
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: expected a password in UTF-8") from None
    if not password or "\n" in password:
        raise ConfigError(f"{path}: expected a password on one line")
    return password
