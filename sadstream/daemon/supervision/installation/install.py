"""`sadstream service install`: the daemon under systemd, from a checkout or a wheel."""

import grp
import json
import os
import secrets
import shutil
import subprocess
import sys
import sysconfig
from contextlib import suppress
from importlib.metadata import distributions, requires
from pathlib import Path
from urllib.parse import unquote, urlparse

from sadstream.base.errors import UnavailableError, UsageError
from sadstream.base.files import write_atomic
from sadstream.daemon.supervision.installation.accounts import NAME, Accounts
from sadstream.daemon.supervision.installation.command import Run, systemctl
from sadstream.daemon.supervision.installation.layout import (
    ALL,
    CONFIG_NAME,
    DASHBOARD,
    JOIN,
    LOOKS,
    MICROPHONE,
    MQTT,
    PASSWORD,
    SERVE,
    Ask,
    InstallLayout,
)
from sadstream.daemon.supervision.installation.uninstall import remove
from sadstream.scoring.fusion.releases import CURRENT
from sadstream.scoring.weights.catalogue import models_dir

HOMES = ("/root", "/home", "/run/user")  # ProtectHome=yes hides them from the system's units
SYSTEM_PYTHON = "/usr/bin/python3"
UNUSED = ("numba", "triton")  # 1.2 GB that openai-whisper asks for, for the times of single words
EXTRAS = ("dashboard", "metrics", "mqtt", "web")  # 11 MB, so that a line of the configuration needs no installation

SAYS = """\
sadstream will run as a service of {whom}, now and after every start.
  hears   one microphone, all the time, also when nobody thinks of it
  keeps   nothing: audio and words stay in memory for the seconds that a segment takes
  sends   sad scores, no words, to programs of this machine that may read {endpoint}
It must not be used
  - at work or in education, to infer emotions of people (prohibited in the EU, AI Act, Article 5(1)(f)),
  - to decide about a person, or as a medical device: it errs, and more for some voices than for others,
  - without telling those who are heard."""

SAYS_MQTT = """\
  tells   all that to the MQTT broker named in [mqtt] too, which may be another machine"""

CONFIG = """\
# What is not here has its default; `sadstream config show` lists every key.
[[stream]]
name = "mic"
source = "mic"
# device = "usb"            # part of a capture device's name; `sadstream devices` lists them

[model]
checkpoint = "{checkpoint}"
"""


def install(
    where: InstallLayout, run: Run, yes: bool, ask: Ask = input, mqtt: bool = False, dashboard: bool = False
) -> None:
    """Environment, models, checkpoint, configuration, units; then the service starts.

    mqtt, dashboard: these beside it. One that broke off is repeated by the same command, and undone by `uninstall`.
    """
    print(SAYS.format(whom="you" if where.user else "this machine", endpoint=where.endpoint))
    if mqtt:
        print(SAYS_MQTT)
    confirm(yes, ask)
    sources = {name: unit(name) for name in where.unit_files}
    beside = {name: unit(name) for name, is_wanted in ((MQTT, mqtt), (DASHBOARD, dashboard)) if is_wanted}
    make_ground(where, run)
    _write_configuration(where)
    start_units(where, run, {where.unit_files[name]: source for name, source in sources.items()}, MICROPHONE)
    if mqtt:
        _start_bridge(where, run, beside[MQTT])
    if dashboard:
        _start_dashboard(where, run, beside[DASHBOARD])
    print(f"installed; `sadstream service status{' --user' if where.user else ''}` says how it is")
    if where.user:
        print("it runs while you are logged in; from the machine's start on with `loginctl enable-linger`")


def write_new(path: Path, text: str, mode: int) -> None:
    """A file that is not there yet, whole or not at all; one that is there is kept."""
    if path.exists():
        return
    try:
        write_atomic(path, text.encode(), mode)
    except OSError as error:
        raise UnavailableError(f"{path}: cannot be written: {error.strerror}; mend that and try again") from None


def confirm(yes: bool, ask: Ask) -> None:
    if not yes and ask("Install it? Type yes: ").strip().lower() != "yes":
        raise UsageError("service install: not confirmed, so nothing was done")


def _start_bridge(where: InstallLayout, run: Run, bridge: Path) -> None:
    """The bridge to MQTT in its place; it starts once its password lies there."""
    password = where.configuration / PASSWORD
    start_units(where, run, {MQTT: bridge}, MQTT, start=password.exists())
    if not password.exists():
        print(f"name broker and username in [mqtt] of {where.configuration / CONFIG_NAME}, and type the password into")
        print(f"{password}, mode 600; then: sudo systemctl start {MQTT.removesuffix('.service')}")


def _start_dashboard(where: InstallLayout, run: Run, page: Path) -> None:
    """The page in its place, behind a token: its browser is nobody of the service's user."""
    token = where.configuration / LOOKS
    write_new(token, secrets.token_hex(32), 0o600)
    start_units(where, run, {DASHBOARD: page}, DASHBOARD)
    print(f"http://127.0.0.1:8750/ asks for the token that `sudo cat {token}` shows")


def make_ground(where: InstallLayout, run: Run, cluster: bool = False) -> None:
    """Folders, accounts, environment and models, as every service has them."""
    python = interpreter(where.user)
    # The system's service reads all this as a user of its own; its owner must be able to, whatever the umask.
    os.umask(os.umask(0o022) & 0o077 if where.user else 0o022)
    where.state.mkdir(parents=True, exist_ok=True)
    if not where.user:
        where.state.chmod(0o755)
        Accounts(where.state).make(run)
    where.configuration.mkdir(parents=True, exist_ok=True)
    where.units.mkdir(parents=True, exist_ok=True)
    if not where.user:
        where.configuration.chmod(0o755)
    serves = any((where.units / name).exists() for name in (SERVE, JOIN))  # from an installation of before
    _make_environment(where, python, run, f"[{','.join((*EXTRAS, *(['cluster'] if cluster or serves else [])))}]")
    _fetch(where, run)
    for folder in (where.models, where.checkpoints):
        _make_readable(folder)
    _put_on_path(where)


def start_units(where: InstallLayout, run: Run, units: dict[str, Path], service: str, start: bool = True) -> None:
    """The units in their place, one of them started; what else runs here starts anew, in the new environment."""
    for name, source in units.items():
        shutil.copyfile(source, where.units / name)
    systemctl(where, run, ["daemon-reload"], ["enable", service])
    others = [pattern for pattern in ALL if pattern.replace("[.]", ".") != service]
    systemctl(where, run, ["reset-failed", *ALL], *([["restart", service]] if start else []), ["try-restart", *others])


def _make_environment(where: InstallLayout, python: str, run: Run, extra: str) -> None:
    """The program in an environment of its own.

    The one of before comes back where this breaks off: what ran can start again.
    """
    if where.environment.is_dir() and not where.before.is_dir():
        where.environment.rename(where.before)
    is_whole = False
    try:
        run([python, "-m", "venv", "--clear", str(where.environment)])
        pip = [str(where.environment / "bin/python"), "-m", "pip", "install", "--quiet"]
        whisper = [line for line in requires("sadstream") or () if line.startswith("openai-whisper")]
        run([*pip, "--no-deps", *whisper])
        _ask_for_nothing_unused(where.environment)
        run([*pip, origin(extra)])
        run([str(where.program), "doctor", "--only", "log-Mel"])
        is_whole = True
    finally:
        if not is_whole and where.before.is_dir():
            remove(where.environment)
            where.before.rename(where.environment)
    remove(where.before)


def _ask_for_nothing_unused(environment: Path) -> None:
    """openai-whisper without the requirements that nobody here uses, for this installation and later ones."""
    asked = tuple(f"Requires-Dist: {name}" for name in UNUSED)
    for path in environment.glob("lib/python3*/site-packages/openai_whisper-*.dist-info/METADATA"):
        text = path.read_text(encoding="utf-8").splitlines(keepends=True)
        path.write_text("".join(line for line in text if not line.startswith(asked)), encoding="utf-8")


def _fetch(where: InstallLayout, run: Run) -> None:
    """Its models, and its first checkpoint where there is none yet."""
    program = str(where.program)
    here = ["--from", str(models_dir())] if models_dir().is_dir() else []
    run([program, "models", "fetch", "--to", str(where.models), *here])
    if not (where.checkpoints / CURRENT).exists():
        scope = ["--user"] if where.user else []
        run([program, "service", "upgrade", "default", "--to", str(where.checkpoints), *scope])


def interpreter(user: bool, this: str = sys.executable, system_python: str = SYSTEM_PYTHON) -> str:
    """The Python to make the environment with: this one, or where the service could not reach it, the system's.

    UnavailableError where that is missing, too old, or cannot make environments.
    """
    real = str(Path(this).resolve())
    if user or not real.startswith(tuple(f"{folder}/" for folder in HOMES)):
        return this
    can = "import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))"
    with suppress(OSError):
        if subprocess.run([system_python, "-c", can], check=False, stderr=subprocess.DEVNULL).returncode == 0:
            return system_python
    raise UnavailableError(
        f"service install: a service cannot reach this Python, {real}: expected {system_python} of 3.11 or newer; "
        f"install it (Debian: apt-get install python3-venv)"
    )


def origin(extra: str = "") -> str:
    """What pip can install this very sadstream from, the checkout or the wheel, with an extra.

    UnavailableError where that is gone: whoever publishes under our name somewhere would be installed as root.
    """
    # Started in a checkout, Python finds the traces of its build beside the installation.
    texts = (found.read_text("direct_url.json") for found in distributions(name="sadstream"))
    said = next(filter(None, texts), None)
    url = urlparse(json.loads(said)["url"]) if said else None
    where = Path(unquote(url.path)) if url is not None and url.scheme == "file" else None
    if where is None or not where.exists():
        raise UnavailableError(
            f"service install: this sadstream came from {where or 'no checkout or wheel on this machine'}: expected to "
            "find it there, since the service is installed from it; install sadstream from a checkout or wheel again"
        )
    return f"{where}{extra}"


def _put_on_path(where: InstallLayout) -> None:
    """A link where shells look, unless somebody else's program lies there."""
    link = where.on_path
    if link.is_symlink() and link.readlink() == where.program:
        return
    try:
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(where.program)
    except OSError as error:
        print(f"{link}: left as it is ({error.strerror}); the service's program is {where.program}")


def _write_configuration(where: InstallLayout) -> None:
    path = where.configuration / CONFIG_NAME
    if path.exists():
        print(f"{path}: kept as it is")
    else:
        path.write_text(CONFIG.format(checkpoint=where.checkpoints / CURRENT), encoding="utf-8")
    if not where.user:
        _let_the_service_read(path)


def _let_the_service_read(path: Path) -> None:
    """A configuration of before that others may not read (it may name keys) is read through the service's group."""
    mode = path.stat().st_mode
    if mode & 0o004:
        return
    with suppress(KeyError):
        os.chown(path, -1, grp.getgrnam(NAME).gr_gid)
        path.chmod(mode | 0o040)
        print(f"{path}: its group is now {NAME}, so that the service can read it")


def _make_readable(folder: Path) -> None:
    """The service reads its models as a user of its own, whatever the installer's umask."""
    folder.mkdir(exist_ok=True)
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() else 0o644)


def unit(name: str) -> Path:
    """A unit file in the checkout, or where a wheel puts it."""
    places = (Path(__file__).parents[4] / "systemd", Path(sysconfig.get_path("data")) / "share/sadstream/systemd")
    for place in places:
        if (place / name).is_file():
            return place / name
    raise UnavailableError(f"{name}: not in {' or '.join(map(str, places))}; install sadstream again")
