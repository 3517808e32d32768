"""`sadstream service`: the daemon under systemd, installed from a checkout or a wheel, and removed without a trace."""

import grp
import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path
from urllib.parse import unquote, urlparse

from sadstream.base.errors import UnavailableError, UsageError
from sadstream.daemon.supervision.accounts import MADE, NAME, Accounts, Run
from sadstream.daemon.supervision.pause_file import PauseFile
from sadstream.scoring.fusion.releases import CURRENT
from sadstream.scoring.weights.catalogue import models_dir

Ask = Callable[[str], str]
HOMES = ("/root", "/home", "/run/user")  # ProtectHome=yes hides them from the system's units
SYSTEM_PYTHON = "/usr/bin/python3"
CONFIG_NAME = "sadstream.toml"
MICROPHONE, SERVE, JOIN = "sadstream.service", "sadstream-serve.service", "sadstream-serve-join.service"
MQTT = "sadstream-mqtt.service"
# The services and their instances, as patterns: of what systemd does not know, nothing is said.
ALL = (
    "sadstream[.]service",
    "sadstream@*.service",
    "sadstream-serve[.]service",
    "sadstream-serve-join[.]service",
    "sadstream-mqtt[.]service",
)
TOKEN = "cluster.token"  # noqa: S105  beside the configuration
PASSWORD = "mqtt.password"  # noqa: S105  the same
# Who says little beside what was refused: of these the refusal is shown as one line.
TERSE = ("groupadd", "groupdel", "systemctl", "useradd", "userdel", "usermod")

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


@dataclass(frozen=True, slots=True)
class InstallLayout:
    """Where an installation lies."""

    user: bool
    environment: Path
    state: Path  # models and checkpoints
    configuration: Path
    units: Path
    endpoint: str
    runtime_units: Path  # of this boot alone: `systemctl edit --runtime`

    @property
    def models(self) -> Path:
        """The service's models."""
        return self.state / "models"

    @property
    def checkpoints(self) -> Path:
        """Its checkpoints."""
        return self.state / "checkpoints"

    @property
    def unit_files(self) -> dict[str, str]:
        """Unit names as installed, by the name that they ship under."""
        if self.user:
            return {"sadstream.user.service": "sadstream.service"}
        return {"sadstream.service": "sadstream.service", "sadstream@.service": "sadstream@.service"}


def layout(user: bool, root: Path = Path("/")) -> InstallLayout:
    """The system's layout, or a user's own; `root` is for images and tests."""
    if not user:
        return InstallLayout(
            False, root / "opt/sadstream", root / "var/lib/sadstream", root / "etc/sadstream",
            root / "etc/systemd/system", f"ipc://{root / 'run/sadstream/pub'}", root / "run/systemd/system",
        )  # fmt: skip
    home = root / str(Path.home()).lstrip("/")
    share = home / ".local/share/sadstream"
    runtime = os.environ.get("XDG_RUNTIME_DIR", f"/run/user/{os.getuid()}")
    return InstallLayout(
        True, share / "venv", share, home / ".config/sadstream", home / ".config/systemd/user",
        f"ipc://{root / runtime.lstrip('/')}/sadstream/pub", root / runtime.lstrip("/") / "systemd/user",
    )  # fmt: skip


def install(where: InstallLayout, run: Run, yes: bool, ask: Ask = input, mqtt: bool = False) -> None:
    """Environment, models, checkpoint, configuration, units; then the service starts.

    mqtt: `sadstream mqtt` beside it. One that broke off is repeated by the same command, and undone by `uninstall`.
    """
    print(SAYS.format(whom="you" if where.user else "this machine", endpoint=where.endpoint))
    if mqtt:
        print(SAYS_MQTT)
    confirm(yes, ask)
    sources = {name: unit(name) for name in where.unit_files}
    bridge = unit(MQTT) if mqtt else None
    make_ground(where, run, mqtt=mqtt)
    _write_configuration(where)
    start_units(where, run, {where.unit_files[name]: source for name, source in sources.items()}, MICROPHONE)
    if bridge is not None:
        _start_bridge(where, run, bridge)
    print(f"installed; `sadstream service status{' --user' if where.user else ''}` says how it is")
    if where.user:
        print("it runs while you are logged in; from the machine's start on with `loginctl enable-linger`")


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


def make_ground(where: InstallLayout, run: Run, cluster: bool = False, mqtt: bool = False) -> None:
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
    wanted = {"cluster": cluster or serves, "mqtt": mqtt or (where.units / MQTT).exists()}
    extras = ",".join(name for name, is_wanted in wanted.items() if is_wanted)
    _make_environment(where, python, run, f"[{extras}]" if extras else "")
    for folder in (where.models, where.checkpoints):
        _make_readable(folder)


def start_units(where: InstallLayout, run: Run, units: dict[str, Path], service: str, start: bool = True) -> None:
    """The units in their place, one of them started; what else runs here starts anew, in the new environment."""
    for name, source in units.items():
        shutil.copyfile(source, where.units / name)
    _systemctl(where, run, ["daemon-reload"], ["enable", service])
    others = [pattern for pattern in ALL if pattern.replace("[.]", ".") != service]
    _systemctl(where, run, ["reset-failed", *ALL], *([["restart", service]] if start else []), ["try-restart", *others])


def uninstall(where: InstallLayout, run: Run) -> None:
    """Remove all that `install` made, however far it got: units, environment, models, configuration, accounts.

    What a tool of the system refuses is said and the rest done; UnavailableError at the end, and it can be repeated.
    """
    refused: list[str] = []

    def tried(command: Sequence[str]) -> None:
        try:
            run(command)
        except UnavailableError as error:
            refused.append(str(error))
            print(f"sadstream: {error}", file=sys.stderr)

    _systemctl(where, tried, ["stop", *ALL], ["reset-failed", *ALL])
    for path in list(_unit_traces(where)):
        _remove(path)
    _systemctl(where, tried, ["daemon-reload"])
    PauseFile(where.endpoint).set(False)  # a user's own is kept where the runs by hand keep theirs
    if not where.user:
        Accounts(where.state).remove(tried)
    for path in _strangers(where):
        print(f"{path}: not made by the installation; removed with it")
    _remove(where.environment)
    _remove(where.configuration)
    for path in where.state.iterdir() if refused and where.state.is_dir() else [where.state]:
        if not refused or path.name != MADE:  # which says what is still to be removed
            _remove(path)
    if refused:
        raise UnavailableError(f"service uninstall: {len(refused)} step(s) refused, see above; mend that and try again")
    left = [str(folder) for folder in (where.environment, where.state, where.configuration) if folder.exists()]
    if left:
        raise UnavailableError(f"service uninstall: could not remove {', '.join(left)}; remove it by hand")


def _make_environment(where: InstallLayout, python: str, run: Run, extra: str) -> None:
    """The program in an environment of its own, its models, its first checkpoint."""
    run([python, "-m", "venv", "--clear", str(where.environment)])
    program = str(where.environment / "bin/sadstream")
    run([str(where.environment / "bin/python"), "-m", "pip", "install", "--quiet", origin(extra)])
    run([program, "doctor", "--fix", "--only", "torchaudio"])
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


def require_root(where: InstallLayout) -> None:
    """UsageError where the system's layout is to be changed by somebody else."""
    if not where.user and os.geteuid() != 0:
        raise UsageError("service: the system's service needs root: sudo sadstream service ..., or --user for your own")


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


def system(command: Sequence[str]) -> None:
    """Run a command; UnavailableError names the one that failed, and what it said."""
    terse = command[0] in TERSE
    try:
        done = subprocess.run(command, check=False, stderr=subprocess.PIPE if terse else None, text=True)
    except OSError as error:
        what = error.strerror or type(error).__name__
    else:
        if done.returncode == 0:
            return
        said = " ".join((done.stderr or "").split())
        what = f"exit code {done.returncode}{f', {said}' if said else ''}"
    raise UnavailableError(f"service: `{' '.join(command)}` failed: {what}; mend that and try again")


def _systemctl(where: InstallLayout, run: Run, *commands: list[str]) -> None:
    if not Path("/run/systemd/system").is_dir():
        print(f"systemd does not run here: {'; '.join('systemctl ' + ' '.join(c) for c in commands)} left out")
        return
    for command in commands:
        run(["systemctl", *(["--user"] if where.user else []), *command])


def _unit_traces(where: InstallLayout) -> Iterator[Path]:
    """Units, links that start them, and what was laid over them (`systemctl edit`, `mask`, `set-property`)."""
    control = [folder.with_name(f"{folder.name}.control") for folder in (where.units, where.runtime_units)]
    for folder in (where.units, where.runtime_units, *control):
        # With a wildcard each: of a name without one Python 3.11 finds no link whose unit is gone.
        for pattern in ALL:
            for within in ("", "*.wants/", "*.requires/"):
                yield from folder.glob(f"{within}{pattern}")
            yield from folder.glob(f"{pattern}.d")


def _strangers(where: InstallLayout) -> list[Path]:
    """What lies among the installation's files and is not of it: a journal of scores, voices, configurations."""
    ours = {where.environment, where.models, where.checkpoints, where.state / MADE}
    ours |= {where.configuration / name for name in (CONFIG_NAME, TOKEN)}
    folders = [folder for folder in (where.state, where.configuration) if folder.is_dir()]
    found = (path for folder in folders for path in folder.iterdir() if path not in ours)
    return sorted(path for path in found if not path.is_dir() or any(path.iterdir()))


def _remove(path: Path) -> None:
    """A file, a link or a folder with all that is in it; what resists is found afterwards."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink(missing_ok=True)


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
    places = (Path(__file__).parents[3] / "systemd", Path(sysconfig.get_path("data")) / "share/sadstream/systemd")
    for place in places:
        if (place / name).is_file():
            return place / name
    raise UnavailableError(f"{name}: not in {' or '.join(map(str, places))}; install sadstream again")
