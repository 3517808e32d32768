"""`sadstream serve`: this machine's models for many rooms, until it is told to stop."""

import logging
import resource
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

from sadstream.base.errors import ConfigError, SadstreamError, StalledError, UnavailableError
from sadstream.base.samples import SAMPLE_RATE
from sadstream.cluster import nodes, tokens
from sadstream.cluster.actors import (
    CALLS,
    CPU_BATCH,
    CUDA_BATCH,
    DoorReplica,
    Machine,
    Placement,
    ScorerReplica,
    fit,
    placement,
)
from sadstream.cluster.door import DoorReport, expect_free, expect_keys
from sadstream.config import Config, with_changes
from sadstream.config.loading import configured
from sadstream.daemon.remote.request import RefusedAnswer, SegmentRequest, read_answer, request_frames
from sadstream.daemon.supervision.systemd import Notifier
from sadstream.events import endpoint as address
from sadstream.events.keys import server_keys
from sadstream.scoring.analyzer.models import expect_models

log = logging.getLogger("sadstream")

APPLICATION = "sadstream"
DOOR, SCORER = "Door", "Scorer"  # deployments of it
READY_S = 300.0  # for the models of every replica
HEALTH_PERIOD_S = 2.0
HEALTH_TIMEOUT_S = 10.0  # two busy cores keep an actor waiting for seconds
REPORT_S = 5.0  # for the door's report
TICK_S = 0.5
SILENT_S = 60.0  # without a report of the door: something is beyond repair
QUIET = {"enable_access_log": False, "log_level": "WARNING"}
HEAD_ONLY = '{"door": 1}'  # a resource that the head alone has: rooms know its address


@dataclass(frozen=True, slots=True)
class ServeRequest:
    """What is to be served, where, and by how many."""

    config: Config
    listen: str
    token: Path
    secret_key: str | None = None
    allow: str | None = None
    replicas: tuple[int, int] | None = None  # least and most; none: as many as fit
    base_port: int = nodes.BASE_PORT


@dataclass(frozen=True, slots=True)
class Served:
    """A running cluster that answers."""

    node: nodes.Node
    placement: Placement
    report: DoorReport


def serve(wanted: ServeRequest) -> Iterator[Served]:
    """Yields when a replica has scored, then about every second, until SIGTERM or SIGINT; then all of it ends.

    Raises ConfigError (78), BusyError (73), UnavailableError (69), and StalledError (75) when what runs breaks down.
    """
    config = _checked(wanted)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # of all below too: a core would hold rooms' speech
    stop, notifier = _Stop(), Notifier()
    token = tokens.make_token(wanted.token)
    node = nodes.start_head(nodes.NodeSettings(token, wanted.base_port, resources=HEAD_ONLY))
    try:
        with _connected(node, token) as library, stop:
            placed = placement(config, wanted.replicas)
            deploy(wanted, config, placed)
            door, scorer = handle(DOOR), handle(SCORER)
            report = _first_report(scorer, door)
            stop.is_ready = True
            notifier.ready()
            yield Served(node, placed, report)
            heard_s = time.monotonic()
            scaling = Scaling(wanted, config, placed)
            while not stop.wanted:
                time.sleep(TICK_S)
                if not node.is_alive:
                    raise StalledError(f"cluster: Ray ended: {node.said()}; start sadstream serve again")
                placed = scaling.follow(nodes.others(library))
                if (now := _report(door)) is not None:
                    heard_s = time.monotonic()
                    notifier.progress()
                    notifier.status(line(now))
                    yield Served(node, placed, now)
                elif time.monotonic() - heard_s > SILENT_S:
                    raise StalledError(f"door: silent for {SILENT_S:g} s; start sadstream serve again")
            notifier.stopping()
    finally:
        node.end()


class Scaling:
    """One scorer more for each place that a machine brings which joins, one less when it leaves.

    A number that was asked for stays as it is.
    """

    def __init__(self, wanted: ServeRequest, config: Config, placed: Placement) -> None:
        self._wanted = wanted
        self._config = config
        self._own = placed
        self._placed = placed
        self._working: threading.Thread | None = None

    def follow(self, others: Sequence[Mapping[str, float]]) -> Placement:
        """What is asked for now, with what the other machines have."""
        if self._wanted.replicas is not None or (self._working is not None and self._working.is_alive()):
            return self._placed
        machines = [Machine(one.get("CPU", 0), one.get("GPU", 0), int(one.get("memory", 0)) >> 20) for one in others]
        more = sum(fit(machine, self._own.cpus, self._own.gpus) for machine in machines)
        if self._own.most + more != self._placed.most:
            count = self._own.most + more
            log.info("%d other machine(s): %d replicas", len(machines), count)
            self._placed = replace(self._placed, least=count, most=count)
            self._working = threading.Thread(target=self._deploy, name="scaling", daemon=True)
            self._working.start()
        return self._placed

    def _deploy(self) -> None:
        try:
            deploy(self._wanted, self._config, self._placed)
        except SadstreamError as error:
            log.error("%s", error)


def line(report: DoorReport) -> str:
    """How it is, in a few words."""
    return (
        f"{report.rooms} rooms, {report.segments_s:.1f} segments/s, p50 {report.p50_ms:.0f} ms, "
        f"p95 {report.p95_ms:.0f} ms, {report.scored} scored, {report.unscored} without speech, "
        f"{report.busy} refused, {report.late} late, {report.errors} bad, {report.second_tries} tried twice"
    )


def handle(deployment: str) -> Any:
    """By which a deployment of ours is asked."""
    return nodes.serving().get_deployment_handle(deployment, APPLICATION)


def deploy(wanted: ServeRequest, config: Config, placed: Placement, replica: type = ScorerReplica) -> None:
    """The door and its scorers, there and with their models loaded; UnavailableError where they cannot be."""
    serving = nodes.serving()
    serving.start(proxy_location="Disabled")  # rooms knock at the door; no HTTP, no gRPC
    door = bound(wanted, config, placed, replica)
    try:
        serving.run(door, name=APPLICATION, route_prefix=None, logging_config=QUIET)
    except RuntimeError as error:
        last = str(error).strip().splitlines()
        raise UnavailableError(f"scorers: did not come up: {last[-1][:300] if last else 'no reason given'}") from None


def application(args: dict[str, str]) -> Any:
    """Door and scorers for a cluster that deploys by itself: `import_path` and `args` of a Serve configuration.

    Its head has the resource `door`. args: `listen`, `replicas` (a number or LEAST:MOST), `compute` (cpu or cuda), and
    if wanted `config`, `secret_key` and `allow` (files of the head's; else the files curve.key and allowed.keys in the
    folder that CREDENTIALS_DIRECTORY names there). ConfigError for what is missing.
    """
    missing = {"listen", "replicas", "compute"} - args.keys()
    if missing:
        raise ConfigError(f"args: expected {', '.join(sorted(missing))} as well")
    config = configured(Path(args["config"]) if "config" in args else None, {"compute": {"device": args["compute"]}})
    config = with_changes(config, {"compute": {"threads": config.compute.threads or 1}})
    least, _, most = args["replicas"].partition(":")
    is_cuda = args["compute"] == "cuda"
    placed = Placement(
        int(least),
        int(most or least),
        float(config.compute.threads),
        float(is_cuda),
        CUDA_BATCH if is_cuda else CPU_BATCH,
    )
    nowhere = Path()  # whoever deploys it has let us in
    return bound(
        ServeRequest(config, args["listen"], nowhere, args.get("secret_key"), args.get("allow")), config, placed
    )


def bound(wanted: ServeRequest, config: Config, placed: Placement, replica: type = ScorerReplica) -> Any:
    """The door before its scorers, as Ray Serve deploys it."""
    serving = nodes.serving()
    replicas: dict[str, Any] = {"num_replicas": placed.most}
    if placed.least != placed.most:
        replicas = {"autoscaling_config": {"min_replicas": placed.least, "max_replicas": placed.most}}
    health = {
        "health_check_period_s": HEALTH_PERIOD_S,
        "health_check_timeout_s": HEALTH_TIMEOUT_S,
        "graceful_shutdown_timeout_s": 1.0,
    }
    scorer = serving.deployment(
        replica,
        name=SCORER,
        ray_actor_options={"num_cpus": placed.cpus, "num_gpus": placed.gpus},
        max_ongoing_requests=CALLS,
        **replicas,
        **health,
    ).bind(config, placed.batch)
    return serving.deployment(
        DoorReplica,
        name=DOOR,
        ray_actor_options={"num_cpus": 0, "resources": {"door": 0.01}},
        num_replicas=1,
        max_ongoing_requests=100,
        user_config=placed.door,
        **health,
    ).bind(scorer, wanted.listen, wanted.secret_key, wanted.allow)


def join(head: str, token: Path, base_port: int) -> Iterator[str]:
    """Lend this machine to the cluster of another; yields what it has to give, then lasts until told to stop.

    Raises StalledError (75) when the other one is gone: systemd starts it again, and it joins again.
    """
    tokens.check_token(token)
    stop, notifier = _Stop(), Notifier()
    with stop:
        node = nodes.join_head(head, nodes.NodeSettings(token, base_port))
        try:
            stop.is_ready = True
            notifier.ready()
            yield f"ports {base_port}-{node.settings.last_port}, which only machines of the cluster may reach"
            while not stop.wanted:
                time.sleep(TICK_S)
                if not node.is_alive:
                    raise StalledError(f"cluster: {head} is gone: {node.said()}; start sadstream serve --join again")
                notifier.progress()
        finally:
            node.end()


@dataclass(frozen=True, slots=True)
class ClusterStatus:
    """How a cluster is, for whoever asks."""

    machines: int
    replicas: int
    scores: bool
    door: DoorReport | None

    def line(self) -> str:
        """The same in a few words."""
        said = "the door does not answer" if self.door is None else line(self.door)
        return f"{self.machines} machine(s), {self.replicas} replica(s): {said}"


def cluster_status(token: Path, base_port: int) -> ClusterStatus:
    """How the cluster of this machine is; UnavailableError where there is none."""
    library = nodes.connect(f"127.0.0.1:{base_port}", token, leave_root=True)
    try:
        serving = nodes.serving()
        application = serving.status().applications.get(APPLICATION)
        running = application.deployments[SCORER].replica_states.get("RUNNING", 0) if application else 0
        report = _report(handle(DOOR)) if application else None
        machines = sum(node["Alive"] for node in library.nodes())
        return ClusterStatus(machines, running, running > 0 and report is not None and report.ready, report)
    finally:
        library.shutdown()


def _checked(wanted: ServeRequest) -> Config:
    """The configuration of the scorers, when all that can be known before anything starts is in order."""
    try:
        address.check(wanted.listen)
    except ValueError as error:
        raise ConfigError(f"--listen {wanted.listen}: {error}") from None
    keys = server_keys(wanted.secret_key, wanted.allow)
    expect_keys(wanted.listen, keys)
    threads = wanted.config.compute.threads or 1
    config = with_changes(wanted.config, {"compute": {"threads": threads}})
    if config.compute.device == "remote":
        raise ConfigError('compute.device = "remote": a scorer asks nobody else; use auto, cpu or cuda')
    expect_models(config)
    expect_free(wanted.listen)
    return config


def _first_report(scorer: Any, door: Any) -> DoorReport:
    """The door's report once somebody has scored behind it."""
    rng = np.random.default_rng(0)
    noise = rng.standard_normal(SAMPLE_RATE).astype(np.float32) * np.float32(0.01)
    asked = SegmentRequest(lane=0, t_start=0.0, t_end=1.0, voiced=1.0, age_ms=0.0, wait_ms=1000 * READY_S)
    answer = read_answer(scorer.score.remote(*request_frames(asked, noise)).result(timeout_s=READY_S)[0])
    if isinstance(answer, RefusedAnswer):
        raise UnavailableError(f"scorers: {answer.what}: expected an answer to a second of noise; `sadstream doctor`")
    until = time.monotonic() + READY_S
    while time.monotonic() < until:
        report = _report(door)
        if report is not None and report.ready:
            return report
        time.sleep(TICK_S)
    raise UnavailableError(f"door: not ready within {READY_S:g} s; start sadstream serve again")


def _report(door: Any) -> DoorReport | None:
    """What the door says of itself; None where it is just being replaced."""
    try:
        found: DoorReport = door.report.remote().result(timeout_s=REPORT_S)
    except Exception:  # of Ray, of many kinds
        return None
    return found


@contextmanager
def _connected(node: nodes.Node, token: Path) -> Iterator[Any]:
    library = nodes.connect(f"127.0.0.1:{node.settings.base_port}", token)
    try:
        yield library
    finally:
        library.shutdown()


class _Stop:
    """SIGTERM and SIGINT: before the cluster answers they end it at once, then at the next look."""

    def __init__(self) -> None:
        self.wanted = False
        self.is_ready = False

    def __enter__(self) -> "_Stop":
        self._before = {number: signal.signal(number, self._end) for number in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, action in self._before.items():
            signal.signal(number, action)

    def _end(self, _number: int, _frame: FrameType | None) -> None:
        self.wanted = True
        if not self.is_ready:
            raise SystemExit(0)
