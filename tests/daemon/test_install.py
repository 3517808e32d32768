"""The service on a machine: units that systemd finds sound, an installation that comes and goes whole."""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from sadstream.base.errors import UnavailableError, UsageError
from sadstream.cluster.nodes import START_S, STOP_S
from sadstream.cluster.serve import READY_S, REPORT_S, SILENT_S
from sadstream.config import loading
from sadstream.daemon.supervision.installation import install
from sadstream.daemon.supervision.installation.layout import layout
from sadstream.daemon.supervision.installation.uninstall import uninstall
from sadstream.events.keys import ROOM_CREDENTIAL
from sadstream.views.mqtt.options import PASSWORD_CREDENTIAL
from sadstream.views.web.options import read_token

UNITS = Path(__file__).parents[2] / "systemd"
CLUSTER = ["sadstream-serve-join.service", "sadstream-serve.service"]
DAEMONS = ["sadstream.service", "sadstream.user.service", "sadstream@.service"]
BRIDGE, PAGE = "sadstream-mqtt.service", "sadstream-dashboard.service"
ALL = [BRIDGE, PAGE, *CLUSTER, *DAEMONS]
ANALYZE = shutil.which("systemd-analyze")
EXTRAS = "[dashboard,metrics,mqtt,web]"
needs_systemd = pytest.mark.skipif(ANALYZE is None, reason="systemd-analyze is not installed")


def runnable(name: str, folder: Path) -> Path:
    """The unit with a program that is there, since verify looks for it; an instance of the template."""
    text = (UNITS / name).read_text()
    text = re.sub(r"^(ExecStart=)\S+", r"\1/bin/true", text, flags=re.M)
    path = folder / {"sadstream@.service": "sadstream@room.service", "sadstream.user.service": "sadstream.service"}.get(
        name, name
    )
    path.write_text(text)
    return path


class TestUnits:
    @needs_systemd
    @pytest.mark.parametrize("name", ALL)
    def test_systemd_has_nothing_to_say_against_it(self, name: str, tmp_path: Path) -> None:
        """Its exit code is 0 for a value that it cannot parse, so that it is the silence that counts."""
        scope = ["--user"] if "user" in name else []
        command = [str(ANALYZE), "verify", *scope, str(runnable(name, tmp_path))]
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            env={"XDG_RUNTIME_DIR": str(tmp_path), "HOME": "/root"},
        )

        assert (done.stdout + done.stderr).strip() == ""

    @needs_systemd
    def test_verify_would_speak_of_a_mistake(self, tmp_path: Path) -> None:
        path = runnable("sadstream.service", tmp_path)
        path.write_text(path.read_text().replace("WatchdogSec=30", "WatchdogSec=soon"))
        done = subprocess.run([str(ANALYZE), "verify", str(path)], capture_output=True, text=True, check=False)

        assert "Failed to parse" in done.stderr

    def test_each_file_is_a_unit_or_laid_over_one(self) -> None:
        assert sorted(path.name for path in UNITS.iterdir()) == sorted([*ALL, "sadstream-room.conf"])

    @needs_systemd
    @pytest.mark.parametrize("name", [BRIDGE, PAGE, *CLUSTER, "sadstream.service", "sadstream@.service"])
    def test_the_system_units_are_exposed_to_at_most_one_and_a_half(self, name: str, tmp_path: Path) -> None:
        command = [str(ANALYZE), "security", "--offline=true", "--no-pager", str(runnable(name, tmp_path))]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        found = re.search(r"exposure level for \S+: ([0-9.]+)", done.stdout)

        assert found is not None, done.stderr
        assert float(found.group(1)) <= 1.5

    @needs_systemd
    def test_what_is_laid_over_a_rooms_unit_opens_the_network_to_the_house_and_to_nobody_else(
        self, tmp_path: Path
    ) -> None:
        unit = runnable("sadstream.service", tmp_path)
        over = tmp_path / "sadstream.service.d"
        over.mkdir()
        shutil.copy(UNITS / "sadstream-room.conf", over / "room.conf")
        done = subprocess.run([str(ANALYZE), "verify", str(unit)], capture_output=True, text=True, check=False)
        text = (UNITS / "sadstream-room.conf").read_text()

        assert (done.stdout + done.stderr).strip() == ""
        assert "\nPrivateNetwork=no\n" in text
        assert "\nIPAddressDeny=any\n" in text
        assert f"\nLoadCredential={ROOM_CREDENTIAL}:/" in text

    @pytest.mark.parametrize("name", CLUSTER)
    def test_a_clusters_unit_ends_whole_swaps_nothing_and_outwaits_a_silent_door(self, name: str) -> None:
        text = (UNITS / name).read_text()
        (watchdog_s,) = re.findall(r"^WatchdogSec=(\d+)$", text, re.M)
        (starts_s,) = re.findall(r"^TimeoutStartSec=(\d+)$", text, re.M)
        (stops_s,) = re.findall(r"^TimeoutStopSec=(\d+)$", text, re.M)

        assert int(watchdog_s) > SILENT_S + REPORT_S
        assert int(starts_s) > START_S + (READY_S if "join" not in name else 0)
        assert int(stops_s) > 2 * STOP_S
        for line in ("Type=notify", "KillMode=mixed", "Restart=always", "LimitCORE=0", "MemorySwapMax=0"):
            assert f"\n{line}\n" in text, line

    @pytest.mark.parametrize("name", DAEMONS)
    def test_it_publishes_on_ipc_is_watched_and_swaps_nothing(self, name: str) -> None:
        text = (UNITS / name).read_text()

        assert re.search(r"^ExecStart=.* run --config \S+ --publish ipc://", text, re.M)
        for line in ("Type=notify", "WatchdogSec=30", "Restart=always", "LimitCORE=0", "MemorySwapMax=0"):
            assert f"\n{line}\n" in text, line

    @pytest.mark.parametrize("name", ALL)
    def test_what_a_restart_cannot_mend_is_not_restarted(self, name: str) -> None:
        (codes,) = re.findall(r"^RestartPreventExitStatus=(.*)$", (UNITS / name).read_text(), re.M)

        # What comes later: another machine, its own address, a broker that refuses everybody while it starts.
        mends_itself = {"69"} if name in (BRIDGE, *CLUSTER) else set()
        names_files = {"66"} if name in (BRIDGE, PAGE) else set()
        assert {"78", "69", "65", "2"} - mends_itself | names_files == set(codes.split())

    @pytest.mark.parametrize("name", ALL)
    def test_what_may_mend_itself_is_tried_for_ever_and_not_hastily(self, name: str) -> None:
        text = (UNITS / name).read_text()

        assert "\nStartLimitIntervalSec=0\n" in text
        assert "StartLimitBurst" not in text
        assert "\nRestartSec=5\n" in text


class TestInstallation:
    @pytest.fixture
    def ran(self) -> list[Sequence[str]]:
        return []

    @pytest.mark.parametrize("user", [False, True])
    def test_it_comes_whole_and_goes_without_a_trace(
        self, tmp_path: Path, user: bool, ran: list[Sequence[str]], capsys: pytest.CaptureFixture[str]
    ) -> None:
        where = layout(user, tmp_path)
        asks = where.environment / "lib/python3.11/site-packages/openai_whisper-1.dist-info/METADATA"

        def run(command: Sequence[str]) -> None:
            ran.append(command)
            if "venv" in command:
                (where.environment / "bin").mkdir(parents=True)
                (where.environment / "bin/sadstream").touch(mode=0o755)
            if "--no-deps" in command:
                asks.parent.mkdir(parents=True)
                asks.write_text(
                    "Name: openai-whisper\nRequires-Dist: numba\nRequires-Dist: torch\nRequires-Dist: triton>=2\n"
                )
            if "fetch" in command:
                where.models.mkdir(parents=True)
                (where.models / "weights").touch(mode=0o600)

        install.install(where, run, yes=True)
        said = capsys.readouterr().out
        assert "hears   one microphone" in said
        assert "must not be used" in said
        assert loading.load(where.configuration / "sadstream.toml").model.checkpoint.startswith(str(where.checkpoints))
        assert {path.name for path in where.units.iterdir()} == set(where.unit_files.values())
        assert (where.models / "weights").stat().st_mode & 0o777 == 0o644
        assert (where.environment / "bin/sadstream").stat().st_mode & 0o111
        whisper, ours = (command[-1] for command in ran if "pip" in command)
        assert whisper.startswith("openai-whisper>=")
        assert ours == install.origin(EXTRAS)
        assert asks.read_text() == "Name: openai-whisper\nRequires-Dist: torch\n"

        uninstall(where, run)
        assert [path for path in tmp_path.rglob("*") if not path.is_dir()] == []
        assert not where.state.exists()
        assert not where.environment.exists()
        assert not where.configuration.exists()

    @pytest.mark.parametrize("user", [False, True])
    def test_one_that_broke_off_anywhere_is_repeated_or_undone(self, tmp_path: Path, user: bool) -> None:
        for broken in range(9):
            where = layout(user, tmp_path / str(broken))
            steps: list[Sequence[str]] = []

            def run(command: Sequence[str], steps: list[Sequence[str]] = steps, broken: int = broken) -> None:
                steps.append(command)
                if len(steps) == broken + 1:
                    raise UnavailableError("no network")

            try:
                install.install(where, run, yes=True)
            except UnavailableError:
                install.install(where, run, yes=True)
            assert (where.units / "sadstream.service").is_file()
            for _ in range(2):
                uninstall(where, [].append)
                assert [path for path in where.units.parent.rglob("*") if not path.is_dir()] == []
                assert not where.state.exists()

    def test_a_bridge_to_mqtt_starts_once_there_is_a_password(
        self, tmp_path: Path, ran: list[Sequence[str]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(
            install, "systemctl", lambda where, run, *commands: [run(["systemctl", *c]) for c in commands]
        )
        where = layout(False, tmp_path)
        restart = ["systemctl", "restart", BRIDGE]
        install.install(where, ran.append, yes=True, mqtt=True)
        assert ["systemctl", "enable", BRIDGE] in ran
        assert restart not in ran
        (where.configuration / "mqtt.password").touch()
        install.install(where, ran.append, yes=True, mqtt=True)
        assert restart in ran

    def test_a_shell_finds_the_program_unless_somebody_elses_lies_there(
        self, tmp_path: Path, ran: list[Sequence[str]], capsys: pytest.CaptureFixture[str]
    ) -> None:
        where = layout(False, tmp_path)
        for _ in range(2):
            install.install(where, ran.append, yes=True)
            assert where.on_path.readlink() == where.program
        uninstall(where, ran.append)
        assert not where.on_path.is_symlink()

        where.on_path.write_text("somebody else's")
        capsys.readouterr()
        install.install(where, ran.append, yes=True)
        assert f"{where.on_path}: left as it is (File exists)" in capsys.readouterr().out
        uninstall(where, ran.append)
        assert where.on_path.read_text() == "somebody else's"

    def test_a_dashboard_beside_it_has_a_token_that_nobody_else_reads_and_that_stays(
        self, tmp_path: Path, ran: list[Sequence[str]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(
            install, "systemctl", lambda where, run, *commands: [run(["systemctl", *c]) for c in commands]
        )
        where = layout(False, tmp_path)
        token = where.configuration / "dashboard.token"
        install.install(where, ran.append, yes=True, dashboard=True)
        first = token.read_text()
        install.install(where, ran.append, yes=True, dashboard=True)

        assert ["systemctl", "restart", PAGE] in ran
        assert read_token(token) == first
        text = (UNITS / PAGE).read_text()
        assert f" dashboard --config {where.configuration}/sadstream.toml --token %d/dashboard.token $OPTIONS\n" in (
            text.replace("/etc/sadstream", str(where.configuration))
        )
        assert "LoadCredential=dashboard.token:/etc/sadstream/dashboard.token\n" in text
        assert "IPAddressAllow=localhost\n" in text

    def test_an_installation_over_another_that_breaks_off_gives_back_the_program_that_ran(self, tmp_path: Path) -> None:
        where, breaks = layout(False, tmp_path), ""

        def run(command: Sequence[str]) -> None:
            if "venv" in command:
                (where.environment / "bin").mkdir(parents=True)
                (where.environment / "bin/sadstream").write_text(breaks)
            if breaks and breaks in command:
                raise UnavailableError("no network")

        install.install(where, run, yes=True)
        for step in ("venv", "pip", "doctor"):
            breaks = step
            with pytest.raises(UnavailableError):
                install.install(where, run, yes=True)
            assert (where.environment / "bin/sadstream").read_text() == ""
            assert not where.before.exists()

        where.environment.rename(where.before)  # as a machine that lost its power meanwhile finds it
        breaks = "pip"
        with pytest.raises(UnavailableError):
            install.install(where, run, yes=True)
        assert (where.environment / "bin/sadstream").read_text() == ""

    def test_the_bridges_unit_says_what_it_may_and_finds_its_password(self) -> None:
        text = (UNITS / BRIDGE).read_text()
        where = layout(False)

        assert (
            f"ExecStart={where.environment}/bin/sadstream mqtt --config {where.configuration}/sadstream.toml\n" in text
        )
        assert f"LoadCredential={PASSWORD_CREDENTIAL}:{where.configuration}/mqtt.password\n" in text
        assert f"InaccessiblePaths=-{where.state}\n" in text
        assert "\nIPAddressDeny=any\n" in text

    def test_without_a_yes_nothing_is_done(self, tmp_path: Path, ran: list[Sequence[str]]) -> None:
        with pytest.raises(UsageError, match="not confirmed"):
            install.install(layout(False, tmp_path), ran.append, yes=False, ask=lambda _: "no")

        assert ran == []
        assert list(tmp_path.iterdir()) == []

    def test_a_configuration_that_is_there_is_kept(self, tmp_path: Path, ran: list[Sequence[str]]) -> None:
        where = layout(False, tmp_path)
        where.configuration.mkdir(parents=True)
        path = where.configuration / "sadstream.toml"
        path.write_text("[model]\nthreshold = 0.7\n")
        install.install(where, ran.append, yes=True)

        assert loading.load(path).model.threshold == 0.7

    def test_a_python_in_somebodys_home_is_not_the_systems_service(self, tmp_path: Path) -> None:
        """Its sandbox hides homes, so that an environment made with that Python could not start there."""
        at_home, elsewhere = "/root/.pyenv/bin/python", str(tmp_path / "python")

        assert install.interpreter(False, at_home, system_python=sys.executable) == sys.executable
        assert install.interpreter(False, elsewhere, system_python="/none") == elsewhere
        assert install.interpreter(True, at_home, system_python="/none") == at_home
        with pytest.raises(UnavailableError, match=r"cannot reach this Python, /root/.* apt-get install"):
            install.interpreter(False, at_home, system_python=str(tmp_path / "none"))

    def test_a_strict_umask_of_the_installer_does_not_lock_the_service_out(self, tmp_path: Path) -> None:
        where, seen = layout(False, tmp_path), []

        def run(_: Sequence[str]) -> None:
            seen.append(os.umask(os.umask(0o022)))

        before = os.umask(0o077)
        try:
            install.install(where, run, yes=True)
        finally:
            os.umask(before)

        assert set(seen) == {0o022}
        assert (where.configuration / "sadstream.toml").stat().st_mode & 0o777 == 0o644
        assert where.configuration.stat().st_mode & 0o777 == 0o755
        assert where.state.stat().st_mode & 0o777 == 0o755

    def test_a_umask_that_locks_out_the_owner_does_not_reach_an_own_service(self, tmp_path: Path) -> None:
        where = layout(True, tmp_path)
        before = os.umask(0o777)
        try:
            install.install(where, [].append, yes=True)
            inherited = os.umask(0o022)
        finally:
            os.umask(before)

        assert inherited == 0o077
        assert (where.configuration / "sadstream.toml").stat().st_mode & 0o777 == 0o600

    def test_the_units_and_the_layout_name_the_same_places(self) -> None:
        where = layout(False)
        text = (UNITS / "sadstream.service").read_text()

        assert f"ExecStart={where.environment}/bin/sadstream run --config {where.configuration}/sadstream.toml" in text
        assert f"--publish {where.endpoint}\n" in text
        assert f"SADSTREAM_MODELS={where.models}\n" in text

    def test_it_asks_for_a_yes_before_anything_as_a_command_too(self) -> None:
        command = [sys.executable, "-m", "sadstream", "service", "install", "--user"]
        done = subprocess.run(command, input="no\n", capture_output=True, text=True, check=False, timeout=60)

        assert done.returncode == 2
        assert "nothing was done" in done.stderr


def run(*command: str | Path, **options: Any) -> "subprocess.CompletedProcess[str]":
    """A program from start to end."""
    words = [str(word) for word in command]
    return subprocess.run(words, check=False, capture_output=True, text=True, timeout=280, **options)


@pytest.fixture(scope="session")
def from_a_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` of an environment into which the built wheel was installed; it borrows this one's other packages."""
    folder = tmp_path_factory.mktemp("wheel")
    built = run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, UNITS.parent)
    if built.returncode and "No matching distribution" in built.stderr:
        pytest.skip("no package index to build a wheel with")
    assert built.returncode == 0, built.stderr
    (wheel,) = folder.glob("*.whl")
    venv.create(folder / "venv", with_pip=False)
    program = folder / "venv/bin"
    installed = run(sys.executable, "-m", "pip", "--python", program / "python", "install", "-q", "--no-deps", wheel)
    assert installed.returncode == 0, installed.stderr
    # A path in a .pth file comes last and its own .pth files are not read: no editable sadstream comes through it.
    (packages,) = (folder / "venv/lib").glob("python3*/site-packages")
    (packages / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return program


@pytest.mark.parametrize("said", [None, '{"url": "file:///nowhere/sadstream"}', '{"url": "https://example.org/s.whl"}'])
def test_a_name_is_never_fetched_that_somebody_else_may_have_taken(
    said: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Installed:
        def read_text(self, name: str) -> str | None:
            return said

    monkeypatch.setattr(install, "distributions", lambda name: [Installed()])
    with pytest.raises(UnavailableError, match=r"came from (/nowhere|no checkout).*: expected to find it there"):
        install.origin()


@pytest.mark.slow
class TestWheel:
    def test_the_program_of_a_wheel_is_the_wheels(self, from_a_wheel: Path, tmp_path: Path) -> None:
        code = "from sadstream.daemon.supervision.installation import install as i; "
        code += "print(i.__file__, i.unit('sadstream.service'), i.origin())"
        where, unit, origin = run(from_a_wheel / "python", "-c", code, cwd=tmp_path).stdout.split()
        version = run(from_a_wheel / "sadstream", "--version", cwd=tmp_path)

        assert where.startswith(str(from_a_wheel.parent))
        assert unit.startswith(str(from_a_wheel.parent))
        assert origin.endswith(".whl")
        assert (from_a_wheel.parent / "share/sadstream/service.md").is_file()
        assert version.stdout == f"sadstream {Path(origin).name.split('-')[1]}\n"

    @pytest.mark.models
    @pytest.mark.usefixtures("real_models")
    def test_it_scores_the_scene_that_it_carries(self, from_a_wheel: Path, tmp_path: Path) -> None:
        scene = run(
            from_a_wheel / "python",
            "-c",
            "from sadstream.cli.demo import play as demo; print(demo.scene_path())",
            cwd=tmp_path,
        )
        path = scene.stdout.strip()
        scored = run(from_a_wheel / "sadstream", "score", path, cwd=tmp_path)

        assert path.startswith(str(from_a_wheel.parent))
        assert scored.returncode == 0, scored.stderr
        assert len(scores(scored.stdout)) > 3


NETLESS = ("unshare", "-rn")


@pytest.mark.slow
@pytest.mark.models
@pytest.mark.usefixtures("real_models")
def test_a_machine_without_network_uses_a_bundle(tmp_path: Path, scene: Path) -> None:
    """Fetched here into a folder; there, with no models of its own and no network, that folder is all it needs."""
    if shutil.which("unshare") is None or run(*NETLESS, "true").returncode:
        pytest.skip("network namespaces are not permitted here")
    sadstream = (sys.executable, "-m", "sadstream")
    bundle, there = tmp_path / "bundle", {**os.environ, "SADSTREAM_MODELS": str(tmp_path / "there")}
    fetched = run(*sadstream, "models", "fetch", "--to", bundle)
    if fetched.returncode == UnavailableError.exit_code:
        pytest.skip(f"models cannot be fetched here: {fetched.stderr.splitlines()[-1]}")
    assert fetched.returncode == 0, fetched.stderr
    before = run(*NETLESS, *sadstream, "score", scene, env=there)
    carried = run(*NETLESS, *sadstream, "models", "fetch", "--from", bundle, env=there)
    scored = run(*NETLESS, *sadstream, "score", scene, env=there)

    assert before.returncode == UnavailableError.exit_code
    assert carried.returncode == 0, carried.stderr
    assert scored.returncode == 0, scored.stderr
    assert scores(scored.stdout) == scores(run(*sadstream, "score", scene).stdout) != []


def scores(lines: str) -> list[float]:
    """The scores among JSON lines."""
    return [json.loads(line)["p_sad"] for line in lines.splitlines()]
