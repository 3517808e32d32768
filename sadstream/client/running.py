"""The daemons that run on this machine, for commands that were not told which one is meant."""

import socket
from dataclasses import dataclass
from pathlib import Path

from sadstream.base.errors import UnavailableError, UsageError
from sadstream.events import DEFAULT_ENDPOINT
from sadstream.events.control import control_path, runtime_folder

PROBE_S = 0.5
SERVICES = "/run/sadstream*"  # a folder for the system's service, and one for each instance


@dataclass(frozen=True, slots=True)
class RunningDaemon:
    """A daemon, and whether we may do with it what we want."""

    endpoint: str
    allowed: bool


def find(control: bool) -> str:
    """The endpoint of the one daemon that runs here and that we may listen to, or with `control` may pause.

    UsageError where there are several, UnavailableError where there is none or none is ours.
    """
    found = [*services(control), *by_hand(control)]
    allowed = [daemon.endpoint for daemon in found if daemon.allowed]
    if len(allowed) > 1:
        raise UsageError(f"several daemons run here: {', '.join(allowed)}: expected the endpoint of one; name it")
    if allowed:
        return allowed[0]
    if found:
        raise denied(found[0].endpoint, control)
    raise UnavailableError("no sadstream runs here: start one (`sadstream run`), or name its endpoint")


def denied(endpoint: str, control: bool) -> UnavailableError:
    """What to do where a daemon runs that is not ours."""
    cure = "use sudo" if control else "use sudo, or join its group (sudo usermod -aG sadstream NAME) and log in again"
    may = "pause and status are its own user's and root's" if control else "its events are its group's and root's"
    return UnavailableError(f"{endpoint}: a daemon runs there, permission denied: {may}; {cure}")


def services(control: bool) -> list[RunningDaemon]:
    """The system's service, its instances, and the user's own service, those that run."""
    folders = [*sorted(Path("/").glob(SERVICES.lstrip("/"))), runtime_folder() / "sadstream"]
    return [daemon for folder in folders if (daemon := _probed(f"ipc://{folder}/pub", control)) is not None]


def by_hand(control: bool) -> list[RunningDaemon]:
    """What our own user runs over tcp; and for listening, whatever answers at the usual port."""
    names = sorted((runtime_folder() / "sadstream").glob("tcp-*.control"))
    ports = [path.name.removeprefix("tcp-").removesuffix(".control") for path in names]
    found = [daemon for port in ports if (daemon := _probed(f"tcp://127.0.0.1:{port}", control=True)) is not None]
    if not control and DEFAULT_ENDPOINT not in [daemon.endpoint for daemon in found] and _answers_at_the_usual_port():
        found.append(RunningDaemon(DEFAULT_ENDPOINT, allowed=True))
    return found


def answers(endpoint: str) -> bool:
    """Whether somebody accepts connections there within PROBE_S; true of what is no endpoint, which others refuse."""
    if endpoint.startswith("ipc://"):
        return _probed(endpoint, control=False) is not None
    host, _, port = endpoint.removeprefix("tcp://").rpartition(":")
    if not (endpoint.startswith("tcp://") and host and port.isascii() and port.isdigit() and 0 < int(port) < 65_536):
        return True
    return _accepts(host.strip("[]"), int(port))


def service_endpoint(configuration: Path) -> str | None:
    """Where the unit that reads this configuration publishes: its command line says so, not the file."""
    path = configuration.expanduser().absolute()
    if path.parent == Path("/etc/sadstream") and path.suffix == ".toml":
        return f"ipc:///run/sadstream{'' if path.stem == 'sadstream' else f'-{path.stem}'}/pub"
    if path == Path("~/.config/sadstream/sadstream.toml").expanduser():
        return f"ipc://{runtime_folder()}/sadstream/pub"
    return None


def _probed(endpoint: str, control: bool) -> RunningDaemon | None:
    """The daemon at an endpoint; None where nobody listens, as after a kill -9."""
    path = control_path(endpoint) if control else Path(endpoint.removeprefix("ipc://"))
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(PROBE_S)
            client.connect(str(path))
    except PermissionError:
        return RunningDaemon(endpoint, allowed=False)
    except (BlockingIOError, TimeoutError):  # it is busy
        return RunningDaemon(endpoint, allowed=True)
    except OSError:
        return None
    return RunningDaemon(endpoint, allowed=True)


def _answers_at_the_usual_port() -> bool:
    host, _, port = DEFAULT_ENDPOINT.removeprefix("tcp://").rpartition(":")
    return _accepts(host, int(port))


def _accepts(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), PROBE_S).close()
    except OSError:
        return False
    return True
