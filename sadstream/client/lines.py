"""Events as a line for people."""

from datetime import UTC, datetime

from sadstream.client.follower import Finding, Gap, Restart, Stale
from sadstream.events import Episode, Event, Score, Status

BAR_CELLS = 20


def line(event: Event) -> str:
    """One line of plain text: a bar for a score, the state for a status, what an episode came to."""
    match event:
        case Score():
            return score_line(event)
        case Status():
            return status_line(event)
        case Episode():
            return episode_line(event)


def finding_line(finding: Finding) -> str:
    """What a listener should know beside the events."""
    match finding:
        case Gap():
            numbers = f"{finding.first_seq} to {finding.last_seq}"
            return f"{finding.stream}: {finding.missed} {finding.event_type} events lost (seq {numbers})"
        case Restart():
            # A session's name is any text, and no terminal should obey it.
            session = "".join(letter if letter.isprintable() else "?" for letter in finding.session)
            return f"{finding.stream}: the daemon is a new one (session {session})"
        case Stale(stream=None):
            return f"nothing heard for {finding.silent_s:.0f} s; is a daemon publishing there, and may we listen?"
        case Stale():
            last = "it had ended" if finding.last_state == "stopping" else "the daemon is dead or cannot be reached"
            return f"{finding.stream}: silent for {finding.silent_s:.0f} s; {last}"


def score_line(score: Score) -> str:
    """When, how sad as a number and as a bar with its threshold, its parts, the likeliest emotion, how long it took."""
    words = "" if score.text is None else f"  {score.text!r}"
    who = "" if score.speaker is None else f"  {score.speaker}"
    parts = ""
    if score.audio_logit is not None and score.text_logit is not None:
        text = f"{score.text_logit:+.2f}" if score.text_used else f"  ({score.text_reason})"
        parts = f"  voice {score.audio_logit:+.2f}  words {text}"
    mark = "sad" if score.sad else "   "
    parts += emotion_part(score)
    parts += "  provisional" if score.provisional else ""
    return (
        f"{score.stream}  {score.t_start:7.2f} to {score.t_end:7.2f} s  {score.p_sad:.2f} "
        f"{bar(score.p_sad, score.threshold)} {mark}{parts}  {score.latency_ms.total:.0f} ms{who}{words}"
    )


def emotion_part(score: Score) -> str:
    """`  emotion happy 0.62`, the likeliest; nothing where there are none."""
    return "" if score.likeliest is None else f"  emotion {score.likeliest[0]} {score.likeliest[1]:.2f}"


def status_line(status: Status) -> str:
    """What the stream is doing, and what it lost."""
    why = "" if status.reason == "none" else f" ({status.reason})"
    lost = f", {status.dropped} segments dropped" if status.dropped else ""
    return f"{status.stream}  {status.state}{why}{lost}"


def episode_line(episode: Episode) -> str:
    """Where in an episode we are, and on what evidence."""
    return (
        f"{episode.stream}  {episode.t_start:7.2f} to {episode.t_end:7.2f} s  "
        f"episode {episode.episode} {episode.phase}: "
        f"{episode.sad_segments} of {episode.segments} segments sad, evidence {episode.evidence:+.1f}"
    )


def bar(p: float, threshold: float) -> str:
    """A probability as cells, with a mark at the threshold."""
    filled = round(p * BAR_CELLS)
    cells = ["█" if cell < filled else "·" for cell in range(BAR_CELLS)]
    cells.insert(min(BAR_CELLS, round(threshold * BAR_CELLS)), "|")
    return "".join(cells)


def local_clock(time_utc: str) -> str:
    """An event's time of day where this machine is, `HH:MM:SS`."""
    moment = datetime.fromisoformat(time_utc)
    return f"{(moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone():%H:%M:%S}"
