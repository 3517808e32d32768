"""The services of a cluster under a real systemd: `make test-systemd-serve`.

    PYTHONPATH=tests python tests/systemd/live_serve.py [SUITE...]

As live.py, in one tree (bookworm) and with the extra `cluster`: `sadstream service install --serve`, a room's drop-in,
a second machine's unit on ports of its own. Apart from `make test-systemd`: Ray's 390 MB and its starts take minutes.
"""

import sys
import time

from container import end_with_us, patience, within
from live import INSTALLER, KILLS, SYSTEM, Live, main

SERVE, JOIN = "sadstream-serve", "sadstream-serve-join"
CONFIG = "/etc/sadstream"
UNITS = "/opt/sadstream/share/sadstream/systemd"
DROP_IN = "/etc/systemd/system/sadstream.service.d/room.conf"
START_S = 120.0  # Ray and two replicas: 45 s
ROOM = """\
[[stream]]
name = "scene"
source = "/live/scene.flac"
[compute]
device = "remote"
[remote]
endpoints = ["tcp://127.0.0.1:5560"]
server_key = "{key}"
fallback = "none"
[publish]
endpoint = "ipc:///run/sadstream/pub"
"""


def active(live: Live, unit: str) -> bool:
    return live.show("ActiveState", unit) == "active"


def processes(live: Live, unit: str) -> list[str]:
    """The numbers of all processes of a unit."""
    group = live.show("ControlGroup", unit)
    return live.do("bash", "-c", f"cat /sys/fs/cgroup{group}/cgroup.procs").split()


def nothing_left(live: Live, pids: list[str]) -> None:
    """Within seconds of their end."""
    places = " ".join(f"/proc/{pid}" for pid in pids)
    within(10, lambda: not live.do("bash", "-c", f"ls -d {places} 2>/dev/null || true"))


def folders(live: Live) -> list[str]:
    return live.do("bash", "-c", "ls /dev/shm").split()


def install(live: Live) -> None:
    said = live.do("bash", "-c", f"umask 077; {INSTALLER} service install --serve --yes", limit_s=500)
    assert "no room is allowed yet" in said, said
    assert live.show("ActiveState", SERVE) == "inactive"
    for name in ("serve.key", "cluster.token"):
        assert live.do("stat", "-c", "%a %U", f"{CONFIG}/{name}") == "600 root"


def start(live: Live) -> None:
    """Type=notify: the command ends when a replica has scored."""
    key = live.do(SYSTEM, "keys", "new", f"{CONFIG}/room.key")
    live.do(SYSTEM, "keys", "allow", key, "--name", "kitchen", "--to", f"{CONFIG}/rooms.keys")
    live.do("systemctl", "start", SERVE, limit_s=START_S)
    assert active(live, SERVE)
    assert "serve: ready: " in live.log(SERVE)


def verified(live: Live) -> None:
    for unit in (SERVE, JOIN):
        said = live.do("systemd-analyze", "verify", f"{unit}.service")
        assert not said, said
        live.do("systemd-analyze", "security", "--no-pager", "--threshold=20", f"{unit}.service")


def boxed(live: Live, unit: str = SERVE, least: int = 9) -> None:
    """Every process of it: the user's, under a filter, without a privilege, without a core file."""
    pids = processes(live, unit)
    assert len(pids) >= least, pids
    for pid in pids:
        status = live.do("cat", f"/proc/{pid}/status")
        for line in ("Seccomp:\t2", "NoNewPrivs:\t1", f"CapEff:\t{'0' * 16}"):
            assert line in status, f"{pid}: {line}"
        assert live.do("ps", "-o", "user=", "-p", pid) == "sadstream"
        assert "Max core file size        0 " in live.do("cat", f"/proc/{pid}/limits")


def status(live: Live) -> None:
    said = live.do(SYSTEM, "serve", "--status", limit_s=60)
    assert "1 machine(s), 2 replica(s): " in said, said
    assert not live.do("find", "/dev/shm", "-mindepth", "1", "-user", "root")


def room(live: Live) -> None:
    """The daemon's own unit with the drop-in: its key is a credential, its segments are scored through the door."""
    live.do("bash", "-c", f"install -D -m 644 {UNITS}/sadstream-room.conf {DROP_IN} && systemctl daemon-reload")
    key = live.do(SYSTEM, "keys", "show", f"{CONFIG}/serve.key")
    live._c.write(f"{CONFIG}/sadstream.toml", ROOM.format(key=key))
    live.do("install", "-m", "644", f"{UNITS}/sadstream.service", "/etc/systemd/system/sadstream.service")
    live.do("systemctl", "daemon-reload")
    live.do("systemctl", "start", "sadstream", limit_s=60)
    try:
        said = live.do("timeout", "60", SYSTEM, "listen", "ipc:///run/sadstream/pub", "--json", "--count", "8",
                       "--timeout", "50", limit_s=70)  # fmt: skip
        assert said.count('"compute":"remote"') >= 3, said
        assert '"type":"score"' in said, said
    finally:
        live.do("systemctl", "stop", "sadstream")


def killed(live: Live) -> float:
    """Its main process alone: the rest goes with it, and what it had in /dev/shm; then all of it is there again."""
    before, held = processes(live, SERVE), folders(live)
    began = time.monotonic()
    live.do("kill", "-KILL", live.show("MainPID", SERVE))
    within(10, lambda: not active(live, SERVE))
    nothing_left(live, before)
    within(START_S, lambda: active(live, SERVE))
    now = folders(live)
    assert len(now) == 1, now
    assert now != held
    return time.monotonic() - began


def joined(live: Live) -> None:
    """A second one beside it, on ports of its own: two machines as the cluster counts them."""
    options = "[Service]\nEnvironment=OPTIONS='--ray-port 7000'\n"
    live._c.write(f"/etc/systemd/system/{JOIN}.service.d/ports.conf", options)
    live.do("bash", "-c", f"{INSTALLER} service install --join 127.0.0.1 --yes", limit_s=500)
    within(START_S, lambda: active(live, SERVE))  # it was started anew, in the new environment
    within(START_S, lambda: active(live, JOIN))
    boxed(live, JOIN, 3)
    said = live.do(SYSTEM, "serve", "--status", limit_s=60)
    assert "2 machine(s), " in said, said


def stopped(live: Live) -> None:
    before = processes(live, SERVE)
    live.do("systemctl", "stop", JOIN)
    began = time.monotonic()
    live.do("systemctl", "stop", SERVE)
    assert time.monotonic() - began < 30 * patience()
    assert (live.show("Result", SERVE), live.show("ExecMainStatus", SERVE)) == ("success", "0")
    nothing_left(live, before)
    assert not folders(live)


def nobody_allowed(live: Live) -> None:
    live.do("bash", "-c", f"echo > {CONFIG}/rooms.keys")
    live.do("systemctl", "start", SERVE, code=1)
    assert live.show("ExecMainStatus", SERVE) == "78"
    assert "allows nobody" in live.log(SERVE, "-p", "err")
    assert not folders(live)


def course(live: Live) -> None:
    """Everything, in an order in which each part finds what it needs."""
    if not live.check("service install --serve", lambda: install(live)):
        return
    if not live.check("active once a replica has scored", lambda: start(live)):
        print(live.log(SERVE)[-1500:])
        return
    live.check("its sandbox is in force in every process", lambda: boxed(live))
    live.check("serve --status as root: 0, and nothing of root's is left", lambda: status(live))
    live.check("a room with the drop-in is scored through the door", lambda: room(live))
    live.many("kill -9: scoring again, nothing left behind", KILLS, lambda: killed(live))
    live.check("service install --join: two machines", lambda: joined(live))
    live.check("systemd has nothing to say against the units", lambda: verified(live))
    live.check("systemctl stop: 0, nothing left", lambda: stopped(live))
    live.check("78 (nobody allowed): not restarted, an error in the journal", lambda: nobody_allowed(live))
    live.check("service uninstall: nothing is left", live.uninstall)


if __name__ == "__main__":
    end_with_us()
    sys.exit(main(course, ["bookworm"], ["cluster"]))
