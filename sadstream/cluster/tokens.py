"""The secret that lets a machine or a command into a cluster: a file of its owner's alone."""

import os
import secrets
from pathlib import Path

import platformdirs

from sadstream.base.errors import ConfigError, MissingFileError, UnavailableError
from sadstream.base.files import contents
from sadstream.events.keys import credential

TOKEN_CREDENTIAL = "cluster.token"  # noqa: S105  name of a file that systemd's LoadCredential= provides
SERVICE_TOKEN = Path("/etc/sadstream") / TOKEN_CREDENTIAL  # of `sadstream service install --serve`, root's alone


def default_token() -> Path:
    """Where this user's token lies: the service's credential, else the configuration folder.

    Who may read that of this machine's service and has none, such as root, gets that one.
    """
    given, own = credential(TOKEN_CREDENTIAL), platformdirs.user_config_path("sadstream") / TOKEN_CREDENTIAL
    if given is None and not os.access(own, os.F_OK) and os.access(SERVICE_TOKEN, os.R_OK):
        return SERVICE_TOKEN
    return given or own


def make_token(path: Path) -> Path:
    """The token's file, made if it is not there, readable by its owner alone."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with open(path, "x", opener=lambda name, flags: os.open(name, flags | os.O_CLOEXEC, 0o600)) as file:
            file.write(secrets.token_hex(32))
    except FileExistsError:
        check_token(path)
    except OSError as error:
        raise UnavailableError(
            f"{path}: token cannot be written: {error.strerror}; name another with --token"
        ) from None
    return path


def check_token(path: Path) -> Path:
    """The token's file; MissingFileError and ConfigError for one that cannot be used, never with its content."""
    try:
        content, mode = contents(path)
    except FileNotFoundError:
        raise MissingFileError(f"{path}: no such token; copy the one of the machine that serves (--token)") from None
    except OSError as error:
        raise ConfigError(f"{path}: token cannot be read: {error.strerror}") from None
    allowed_to_group = 0o040 if path.name == TOKEN_CREDENTIAL and "CREDENTIALS_DIRECTORY" in os.environ else 0
    if mode & 0o077 & ~allowed_to_group:
        raise ConfigError(f"{path}: mode {mode:04o} lets others run code here; chmod 600 {path}")
    if not content.strip():
        raise ConfigError(f"{path}: expected a token, found an empty file; delete it, and `sadstream serve` makes one")
    return path
