"""CURVE keys: files with safe modes, the list of those who may listen, and the answer to each who asks (ZAP)."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from sadstream.base.errors import BusyError, ConfigError, MissingFileError, UnavailableError, UsageError
from sadstream.base.files import contents

# Z85: 40 printable letters for 32 bytes. No key begins with # or $, whose worth is beyond 2^32.
KEY = re.compile(r"[0-9a-zA-Z.:+=^!/*?&<>()\[\]{}@%$#-]{40}")
DIGITS = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"  # of Z85, base 85
COMMENT = "# "
SECRET_CREDENTIAL = "curve.key"  # noqa: S105  names of files that systemd's LoadCredential= provides
ALLOWED_CREDENTIAL = "allowed.keys"
ROOM_CREDENTIAL = "remote.key"
MECHANISM = b"CURVE"
NEEDS_KEYS = (
    "other machines could listen; set publish.secret_key and publish.allow (`sadstream keys`), "
    "or publish on ipc:///path or tcp://127.0.0.1:PORT"
)
GATHER_NEEDS_KEYS = (
    "other machines could say anything; set publish.secret_key and gather.allow (`sadstream keys`), "
    "or gather on ipc:///path or tcp://127.0.0.1:PORT"
)
DIAL_NEEDS_KEYS = (
    "others could listen in on the way; set publish.to_server_key and publish.secret_key (`sadstream keys`), "
    "or dial ipc:///path or tcp://127.0.0.1:PORT"
)


class Curve(NamedTuple):
    """What a subscriber needs: the daemon's public key and a pair of its own."""

    server: bytes
    public: bytes
    secret: bytes


@dataclass(frozen=True, slots=True)
class ServerKeys:
    """What the daemon needs: its secret key and the file that says who may listen."""

    secret: bytes
    allowed: Path


class AllowList:
    """The public keys of an allow-list; a changed file counts from the next handshake on."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._changed: tuple[int, int] | None = None
        self._keys: frozenset[str] = frozenset()

    def __contains__(self, key: str) -> bool:
        try:
            found = self.path.stat()
            if self._changed != (found.st_mtime_ns, found.st_size):
                self._keys = frozenset(read_allowed(self.path))
                self._changed = (found.st_mtime_ns, found.st_size)
        except (OSError, ConfigError, MissingFileError):
            return False  # a list that cannot be read lets nobody in
        return key in self._keys


def is_key(text: str) -> bool:
    """Forty letters that stand for 32 bytes: of five letters in a row not every 85^5 do, but 2^32."""
    if KEY.fullmatch(text) is None:
        return False
    groups = (text[at : at + 5] for at in range(0, len(text), 5))
    return all(sum(DIGITS.index(letter) * 85 ** (4 - n) for n, letter in enumerate(group)) < 2**32 for group in groups)


def new_key(path: Path) -> str:
    """Write a new secret key, readable by its owner alone, and give the public one."""
    import zmq

    public, secret = zmq.curve_keypair()
    while public[:1] == b"-":  # a command line would take it for an option
        public, secret = zmq.curve_keypair()
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise BusyError(f"{path}: there already; a key is not replaced, name another file") from None
    except OSError as error:
        raise UnavailableError(
            f"{path}: cannot be written: {error.strerror}; name a file in a folder of yours"
        ) from None
    try:
        with os.fdopen(file, "wb") as out:
            out.write(secret + b"\n")
    except OSError as error:
        path.unlink()  # half a key is none
        raise UnavailableError(f"{path}: cannot be written: {error.strerror}; make room, or write elsewhere") from None
    return public.decode()


def public_key(path: Path) -> str:
    """The public key that belongs to a secret key's file."""
    import zmq

    return bytes(zmq.curve_public(read_secret(path))).decode()


def allow(path: Path, key: str, name: str) -> bool:
    """Add a public key to an allow-list; False if it was there."""
    if not is_key(key):
        raise UsageError("key: expected the 40 letters that `sadstream keys show` prints")
    if not name.isprintable():
        raise UsageError("--name: expected printable letters")
    if path.exists() and key in read_allowed(path):
        return False
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise UnavailableError(
            f"{path}: cannot be written: {error.strerror}; name a file in a folder of yours"
        ) from None
    with os.fdopen(file, "wb") as out:
        before = os.fstat(file).st_size
        line = ("\n" if _ends_within_a_line(path) else "") + f"{key} {name}".rstrip() + "\n"
        try:
            out.write(line.encode())
            out.flush()
        except OSError as error:
            os.ftruncate(file, before)  # half a line would lock everybody out
            raise UnavailableError(f"{path}: cannot be written: {error.strerror}; make room") from None
    return True


def _ends_within_a_line(path: Path) -> bool:
    content, _ = contents(path)
    return bool(content) and not content.endswith(b"\n")


def lets_others_read(path: Path, mode: int) -> bool:
    """A file of this mode is not its owner's alone."""
    # systemd gives a credential to a service's user by an access list, whose mask shows as the group's bit.
    return bool(mode & (0o037 if credential(path.name) == path else 0o077))


def read_secret(path: Path) -> bytes:
    """The secret key in a file; ConfigError if others can read it or it is no key (its content is never repeated)."""
    try:
        content, mode = contents(path)
    except FileNotFoundError:
        raise MissingFileError(f"{path}: no such key; `sadstream keys new {path}` makes one") from None
    except OSError as error:
        raise ConfigError(f"{path}: secret key cannot be read: {error.strerror}") from None
    text = content.decode("utf-8-sig", errors="replace").strip()
    if lets_others_read(path, mode):
        raise ConfigError(f"{path}: mode {mode:04o} lets others read the secret key; chmod 600 {path}")
    if not is_key(text):
        raise ConfigError(f"{path}: expected a secret key of 40 letters; `sadstream keys new` makes one")
    return text.encode()


def read_allowed(path: Path) -> list[str]:
    """The public keys in an allow-list: one a line, then a name; ConfigError names the first bad line."""
    try:
        content, mode = contents(path)
    except FileNotFoundError:
        raise MissingFileError(f"{path}: no such allow-list; `sadstream keys allow KEY --to {path}`") from None
    except OSError as error:
        raise ConfigError(f"{path}: allow-list cannot be read: {error.strerror}") from None
    if mode & 0o022 and credential(path.name) != path:
        raise ConfigError(f"{path}: mode {mode:04o} lets others add keys; chmod 644 {path}")
    keys = []
    for number, line in enumerate(content.decode("utf-8-sig", errors="replace").splitlines(), 1):
        if not line.strip() or line.startswith(COMMENT):
            continue
        key = line.split(maxsplit=1)[0]
        if not is_key(key):
            raise ConfigError(f"{path}:{number}: expected a public key of 40 letters, then a name")
        keys.append(key)
    return keys


def credential(name: str) -> Path | None:
    """The file of a systemd credential, if the service was given it."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    path = Path(folder) / name if folder else None
    return path if path is not None and path.exists() else None


def room_key(configured: str | None) -> Path | None:
    """The file of a room's secret key: the configured one, else the service's credential, else none."""
    return Path(configured) if configured else credential(ROOM_CREDENTIAL)


def has_credentials() -> bool:
    """The service manager gave us a key and an allow-list."""
    return credential(SECRET_CREDENTIAL) is not None and credential(ALLOWED_CREDENTIAL) is not None


def has_secret_credential() -> bool:
    """The service manager gave us a key."""
    return credential(SECRET_CREDENTIAL) is not None


def server_keys(secret_key: str | None, allowed: str | None) -> ServerKeys | None:
    """The daemon's keys: those configured, else the service's credentials, else none."""
    secret_path = Path(secret_key) if secret_key else credential(SECRET_CREDENTIAL)
    allowed_path = Path(allowed) if allowed else credential(ALLOWED_CREDENTIAL)
    if secret_path is None and allowed_path is None:
        return None
    if secret_path is None or allowed_path is None:
        missing = "secret_key" if secret_path is None else "allow"
        raise ConfigError(f"publish.{missing}: missing; a key without an allow-list lets anybody in")
    try:
        secret = read_secret(secret_path)
        if not read_allowed(allowed_path):
            raise ConfigError(f"{allowed_path}: allows nobody; `sadstream keys allow KEY --to {allowed_path}`")
    except MissingFileError as error:
        raise ConfigError(str(error)) from None
    return ServerKeys(secret, allowed_path)


def dialling_keys(server_key: str | None, secret_key: str | None) -> Curve | None:
    """A room's keys for its gatherer: the gatherer's public one, and ours as configured or as a credential."""
    if server_key is None:
        return None
    path = Path(secret_key) if secret_key else credential(SECRET_CREDENTIAL)
    try:
        return client_curve(server_key, path)
    except MissingFileError as error:
        raise ConfigError(str(error)) from None


def client_curve(server_key: str | None, secret_key: str | Path | None) -> Curve | None:
    """A subscriber's keys, or None for an endpoint of this machine."""
    if server_key is None and secret_key is None:
        return None
    if server_key is None or secret_key is None:
        raise UsageError("server_key and secret_key: expected both; the daemon's public key and a file with ours")
    if not is_key(server_key):
        raise UsageError("server_key: expected the 40 letters that `sadstream keys show` prints on the daemon's side")
    path = Path(secret_key)
    return Curve(server_key.encode(), public_key(path).encode(), read_secret(path))


def zap_answer(request: list[bytes], allowed: AllowList) -> list[bytes] | None:
    """The answer to a ZAP request (RFC 27): 200 for a key on the list, 400 for any other; None for no request.

    Whoever is let in is known by its key from then on: it is the user's name of all its messages.
    """
    import zmq.utils.z85

    if len(request) < 6 or request[0] != b"1.0":
        return None
    request_id, mechanism, credentials = request[1], request[5], request[6:]
    whole = mechanism == MECHANISM and len(credentials) == 1 and len(credentials[0]) == 32
    key = zmq.utils.z85.encode(credentials[0]) if whole else b""
    known = whole and key.decode() in allowed
    code, text, user = (b"200", b"OK", key) if known else (b"400", b"key not allowed", b"")
    return [b"1.0", request_id, code, text, user, b""]
