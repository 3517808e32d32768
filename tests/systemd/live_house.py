"""What a house adds to the service, under a real systemd: `make test-systemd-house`.

    PYTHONPATH=tests python tests/systemd/live_house.py [SUITE...]

As live.py, in one tree (bookworm, with a mosquitto that asks for a password): the bridge and the dashboard beside the
daemon, and every file of docs/recipes.md as it stands there.
"""

import json
import re
import sys
import time
from pathlib import Path

from container import end_with_us, patience, within
from live import ENDPOINT, INSTALLER, READY_S, SYSTEM, Live, main

RECIPES = Path(__file__).resolve().parents[2] / "docs/recipes.md"
CONFIG, STATE = "/etc/sadstream", "/var/lib/sadstream"
BRIDGE, PAGE = "sadstream-mqtt", "sadstream-dashboard"
MOSQUITTO = """\
listener 1883 127.0.0.1
allow_anonymous false
password_file /etc/mosquitto/passwords
"""
BROKER = '[mqtt]\nbroker = "127.0.0.1"\nusername = "sad"\n'
LOGIN = ("-h", "127.0.0.1", "-u", "sad", "-P", "quiet house")


def files() -> dict[str, str]:
    """The files of the page, by the path in their first line."""
    blocks = re.findall(r"```ini\n# (\S+)\n(.*?)```", RECIPES.read_text(), re.DOTALL)
    return dict(blocks)


def table(name: str) -> str:
    """A table of the configuration as the page has it."""
    (found,) = re.findall(rf"```toml\n(\[{name}\]\n.*?)```", RECIPES.read_text(), re.DOTALL)
    return found


def put(live: Live, *paths: str) -> None:
    for path in paths:
        live._c.write(path, files()[path])
    live.do("systemctl", "daemon-reload")


def configure(live: Live, text: str) -> None:
    live._c.write("/root/more.toml", text)
    live.do("bash", "-c", f"cat /root/more.toml >> {CONFIG}/sadstream.toml")


def restart(live: Live, *units: str) -> None:
    live.do("systemctl", "restart", *units, limit_s=READY_S)
    within(READY_S, live.listens)


def get(live: Live, url: str, *more: str) -> str:
    """The body and, in a last line, the status code; or why there was no answer."""
    program = (
        "import ssl, sys, urllib.request, urllib.error\n"
        "context = ssl.create_default_context(cafile='/etc/sadstream/cert.pem') if sys.argv[1][4] == 's' else None\n"
        "request = urllib.request.Request(sys.argv[1], headers=dict(h.split(': ') for h in sys.argv[2:]))\n"
        "try:\n    answer = urllib.request.urlopen(request, timeout=10, context=context)\n"
        "except urllib.error.HTTPError as error:\n    answer = error\n"
        "except urllib.error.URLError as error:\n    sys.exit(print(error))\n"
        "print(answer.read().decode()); print(answer.status)\n"
    )
    return live.do("python3", "-c", program, url, *more)


def installed(live: Live) -> None:
    live.do("bash", "-c", f"umask 077; {INSTALLER} service install --yes --mqtt --dashboard", limit_s=500)
    within(READY_S, live.listens)
    assert live.do("readlink", "/usr/local/bin/sadstream") == SYSTEM
    live.do("bash", "-lc", "sadstream service status --check")
    assert live.show("ActiveState", BRIDGE) == "inactive"  # no password yet


def bridge(live: Live) -> None:
    """Password as a credential, the daemon's states at the broker, the switch, a broker that goes and comes."""
    live._c.write("/etc/mosquitto/mosquitto.conf", MOSQUITTO)
    live.do("bash", "-c", "mosquitto_passwd -c -b /etc/mosquitto/passwords sad 'quiet house'; "
            "chown mosquitto /etc/mosquitto/passwords; systemctl restart mosquitto")  # fmt: skip
    live.do("bash", "-c", f"umask 077; echo 'quiet house' > {CONFIG}/mqtt.password")
    configure(live, BROKER)
    live.do("systemctl", "start", BRIDGE, limit_s=60)
    assert live.show("ActiveState", BRIDGE) == "active"
    heard = ("timeout", "20", "mosquitto_sub", *LOGIN, "-C", "1", "-t")
    found = json.loads(live.do(*heard, "homeassistant/device/+/config"))
    switch = next(part for part in found["components"].values() if part.get("platform", part.get("p")) == "switch")
    topic = switch.get("command_topic", switch.get("cmd_t"))
    live.do("mosquitto_pub", *LOGIN, "-t", topic, "-m", switch.get("payload_on", "ON"))
    within(10, lambda: "paused (user)" in live.show("StatusText"))
    live.do("mosquitto_pub", *LOGIN, "-t", topic, "-m", switch.get("payload_off", "OFF"))
    within(10, live.listens)
    live.do("systemctl", "kill", "-s", "KILL", "mosquitto")
    live.do("systemctl", "restart", "mosquitto")
    within(20, lambda: live._c.run(*heard, "homeassistant/device/+/config").returncode == 0)


def kept_scores(live: Live) -> None:
    configure(live, table("journal"))
    restart(live, "sadstream")
    command = ("sadstream", "history", "--since", "1h", "--json", "--config", f"{CONFIG}/sadstream.toml")
    within(30, lambda: '"type":"score"' in live._c.run(*command).stdout)
    assert live.do("stat", "-c", "%a %U", f"{STATE}/journal/scores.sqlite") == "600 sadstream"


def page(live: Live) -> None:
    """The token lets in, nothing else does; state, and the past out of a journal that it may not write."""
    restart(live, PAGE)
    token = live.do("cat", f"{CONFIG}/dashboard.token")
    within(15, lambda: get(live, "http://127.0.0.1:8750/v1/state").endswith("401"))
    bearer = f"Authorization: Bearer {token}"
    within(15, lambda: '"listening"' in get(live, "http://127.0.0.1:8750/v1/state", bearer))
    past = get(live, "http://127.0.0.1:8750/v1/history?from=1h", bearer)
    assert '"p_sad"' in past, past[-300:]


def page_for_the_house(live: Live) -> None:
    made = f"-days 2 -subj /CN=pi.example -addext subjectAltName=DNS:pi.example -keyout {CONFIG}/key.pem"
    live.do("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", *made.split(), "-out", f"{CONFIG}/cert.pem")
    live.do("bash", "-c", f"chmod 600 {CONFIG}/*.pem; echo 127.0.0.1 pi.example >> /etc/hosts")
    put(live, f"/etc/systemd/system/{PAGE}.service.d/house.conf")
    live.do("systemctl", "restart", PAGE)
    token = live.do("cat", f"{CONFIG}/dashboard.token")
    bearer = f"Authorization: Bearer {token}"
    within(15, lambda: '"listening"' in get(live, "https://pi.example:8750/v1/state", bearer))


def metrics(live: Live) -> None:
    put(live, "/etc/systemd/system/sadstream.service.d/metrics.conf")
    configure(live, table("metrics"))
    restart(live, "sadstream")
    assert get(live, "http://127.0.0.1:9464/healthz").endswith("200")
    assert "sadstream_segments_total" in get(live, "http://127.0.0.1:9464/metrics")


def quiet_hours(live: Live) -> None:
    """Both timers wait for their hour; what they start does it."""
    names = [f"/etc/systemd/system/{name}.{kind}" for name in ("quiet", "awake") for kind in ("service", "timer")]
    put(live, *names)
    said = live.do("systemd-analyze", "verify", *names)
    assert not said, said
    live.do("systemctl", "enable", "--now", "quiet.timer", "awake.timer")
    due = live.do("systemctl", "list-timers", "--no-legend", "quiet.timer", "awake.timer")
    assert "22:00:00" in due, due
    assert "07:00:00" in due, due
    live.do("systemctl", "start", "quiet")
    within(5, lambda: "paused (user)" in live.show("StatusText"))
    live.do("systemctl", "start", "awake")
    within(10, live.listens)


def upgraded(live: Live) -> None:
    """Installed over what runs, paused: all that is somebody's stays, and the pause."""
    kept = (f"{CONFIG}/sadstream.toml", f"{CONFIG}/dashboard.token", f"{STATE}/checkpoints/current.safetensors")
    before = live.do("sha256sum", *kept)
    live.do("sadstream", "pause", ENDPOINT)
    pid = live.show("MainPID")
    began = time.monotonic()
    live.do(INSTALLER, "service", "install", "--yes", "--mqtt", "--dashboard", limit_s=500)
    within(READY_S, lambda: live.show("MainPID") not in ("0", pid) and "paused (user)" in live.show("StatusText"))
    print(f"     {live.suite:9} installed over what ran in {time.monotonic() - began:.0f} s")
    live.do("sadstream", "resume", ENDPOINT)
    within(10 * patience(), live.listens)
    assert live.do("sha256sum", *kept) == before
    assert live.show("ActiveState", BRIDGE) == live.show("ActiveState", PAGE) == "active"
    live.do("test", "!", "-e", "/opt/sadstream.before")


def upgrade_that_breaks_off(live: Live) -> None:
    pid = live.show("MainPID")
    live.do("env", "PIP_CONFIG_FILE=/dev/null", "PIP_NO_INDEX=1", INSTALLER, "service", "install", "--yes",
            code=69, limit_s=120)  # fmt: skip
    assert live.show("MainPID") == pid
    assert live.listens()
    restart(live, "sadstream")


def verified(live: Live) -> None:
    for unit in (BRIDGE, PAGE):
        said = live.do("systemd-analyze", "verify", f"{unit}.service")
        assert not said, said
        live.do("systemd-analyze", "security", "--no-pager", "--threshold=20", f"{unit}.service")
        status = live.do("cat", f"/proc/{live.show('MainPID', unit)}/status")
        for line in ("Seccomp:\t2", "NoNewPrivs:\t1", f"CapEff:\t{'0' * 16}"):
            assert line in status, f"{unit}: {line}"


def taken_away(live: Live) -> None:
    """Nobody answers, so the scores stay, and with them whose they are; then all of it goes."""
    live.do("systemctl", "disable", "--now", "quiet.timer", "awake.timer")
    said = live.do(INSTALLER, "service", "uninstall")
    assert f"kept: {CONFIG}/cert.pem, {CONFIG}/key.pem, {STATE}/journal; so are user and group sadstream" in said, said
    assert live.do("find", "/opt", "/etc/systemd", "/usr/local", "-name", "*sadstream*") == ""
    assert live.do("stat", "-c", "%U", f"{STATE}/journal/scores.sqlite") == "sadstream"
    live.uninstall()


def course(live: Live) -> None:
    """Everything, in an order in which each part finds what it needs."""
    if not live.check("service install --mqtt --dashboard; sadstream is on the PATH", lambda: installed(live)):
        print(live.log()[-1500:])
        return
    live.check("bridge: password, states, switch, a broker that restarts", lambda: bridge(live))
    live.check("journal: scores are kept, the daemon's alone", lambda: kept_scores(live))
    live.check("dashboard: a token, state, the past", lambda: page(live))
    live.check("dashboard for the house: TLS and a name", lambda: page_for_the_house(live))
    live.check("their sandboxes are in force", lambda: verified(live))
    live.check("metrics over loopback", lambda: metrics(live))
    live.check("quiet hours", lambda: quiet_hours(live))
    live.check("installed over what runs: all stays, a pause too", lambda: upgraded(live))
    live.check("one that breaks off: what ran goes on, and starts again", lambda: upgrade_that_breaks_off(live))
    live.check("service uninstall keeps scores; with --yes nothing is left", lambda: taken_away(live))


if __name__ == "__main__":
    end_with_us()
    sys.exit(main(course, ["bookworm"], packages=["mosquitto", "mosquitto-clients", "openssl"]))
