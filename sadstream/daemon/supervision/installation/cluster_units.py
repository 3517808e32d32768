"""`sadstream service install --serve` and `--join`: a machine that scores for rooms, as a service."""

import secrets

from sadstream.daemon.supervision.installation.command import Run
from sadstream.daemon.supervision.installation.install import confirm, make_ground, start_units, unit, write_new
from sadstream.daemon.supervision.installation.layout import DOOR_KEY, JOIN, ROOMS, SERVE, TOKEN, Ask, InstallLayout
from sadstream.events.keys import read_allowed

SAYS = """\
{what}, now and after every start.
  hears   no microphone: segments of speech, from rooms that it was told to allow
  keeps   nothing: audio and words stay in memory for the seconds that a segment takes
  sends   each room its scores, and words where that room publishes them
It must not be used
  - at work or in education, to infer emotions of people (prohibited in the EU, AI Act, Article 5(1)(f)),
  - to decide about a person, or as a medical device: it errs, and more for some voices than for others,
  - without telling those who are heard, in every room."""

ALLOWED = "# Public keys of the rooms that may knock, one a line; `sadstream keys allow` adds them.\n"
HEAD = "[Service]\nEnvironment=HEAD={host}\n"


def install_serve(where: InstallLayout, run: Run, yes: bool, ask: Ask = input) -> None:
    """Environment, models, the door's key, the cluster's token, unit; it starts once a room is allowed."""
    print(SAYS.format(what="sadstream will score for many rooms as a service of this machine"))
    confirm(yes, ask)
    source = unit(SERVE)
    make_ground(where, run, cluster=True)
    key, rooms, token = (where.configuration / name for name in (DOOR_KEY, ROOMS, TOKEN))
    program = str(where.program)
    if not key.exists():
        run([program, "keys", "new", str(key)])
    write_new(token, secrets.token_hex(32), 0o600)
    write_new(rooms, ALLOWED, 0o644)
    is_wanted = bool(read_allowed(rooms))
    start_units(where, run, {SERVE: source}, SERVE, start=is_wanted)
    print(f"`sudo {program} keys show {key}` prints the door's key, which rooms need")
    print(f"`sudo {program} keys allow KEY --name ROOM --to {rooms}` lets a room in, at once")
    if not is_wanted:
        print("no room is allowed yet, so it does not run; after the first: sudo systemctl start sadstream-serve")
    print(f"another machine joins with a copy of {token}: sudo sadstream service install --join HOST")


def install_join(where: InstallLayout, run: Run, host: str, yes: bool, ask: Ask = input) -> None:
    """Environment, models, unit; it starts once the token of HOST lies here."""
    print(SAYS.format(what=f"sadstream will score in the cluster of {host} as a service of this machine"))
    confirm(yes, ask)
    source = unit(JOIN)
    make_ground(where, run, cluster=True)
    drop_in = where.units / f"{JOIN}.d" / "head.conf"
    drop_in.parent.mkdir(exist_ok=True)
    drop_in.write_text(HEAD.format(host=host), encoding="utf-8")
    token = where.configuration / TOKEN
    start_units(where, run, {JOIN: source}, JOIN, start=token.exists())
    if not token.exists():
        print(f"copy {token} of {host} to this machine, mode 600; then: sudo systemctl start sadstream-serve-join")
