"""Events in, a frame of the live view out: rows of text for a terminal of any size; no clock, no terminal."""

from dataclasses import dataclass, replace
from typing import Literal

from rich.text import Text

from sadstream.client.follower import Finding, Stale
from sadstream.client.lines import emotion_part, finding_line
from sadstream.events import Event, Score
from sadstream.views.watch.glyphs import Glyphs
from sadstream.views.watch.strip import QUIET, SAD
from sadstream.views.watch.watched_stream import WAITING, Tone, WatchedStream, span

CHART_WEIGHT = 55
CHART_ROWS = (3, 16)  # fewest that show a height, most that are worth the room
NOTE_S = 20.0  # that a note stays
TONES: dict[Tone, str] = {"good": "green", "warning": "yellow", "bad": "bold reverse red"}

Wish = Literal["quit", "pause", "resume", "mark"]
WISHES: dict[str, Wish] = {"quit": "quit", "mark": "mark"}


@dataclass(frozen=True, slots=True)
class _Block:
    """Rows that are shown together, or left out together where there is no room."""

    weight: int  # the lightest goes first
    rows: list[Text]


class Screen:
    """All streams of a daemon, one of them shown."""

    __slots__ = ("_chosen", "_endpoint", "_note", "_noted_s", "_silence", "_streams")

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint
        self._streams: dict[str, WatchedStream] = {}
        self._chosen = ""
        self._note = ""
        self._noted_s = 0.0
        self._silence: Stale | None = None  # nobody was ever heard

    @property
    def score(self) -> Score | None:
        """The newest score of the stream that is shown."""
        shown = self._shown
        return None if shown is None else shown.score

    def feed(self, item: Event | Finding, now_s: float) -> None:
        """Take an event or a finding, at this moment of the watcher's clock."""
        if isinstance(item, Event):
            self._heard(item.stream).event(item, now_s)
            self._silence = None
            return
        self.note(finding_line(item), now_s)
        if item.stream is not None:
            self._heard(item.stream).finding(item)
        elif isinstance(item, Stale):
            self._silence = item

    def press(self, key: str) -> Wish | None:
        """What a key asks of whoever holds the terminal; other streams are shown here."""
        names = sorted(self._streams)
        if key in ("next", "previous") and names:
            step = 1 if key == "next" else -1
            self._chosen = names[(names.index(self._chosen) + step) % len(names)]
        if key == "pause":
            shown = self._shown
            paused = shown is not None and shown.status is not None and shown.status.state == "paused"
            return "resume" if paused else "pause"
        return WISHES.get(key)

    def note(self, text: str, now_s: float) -> None:
        """Say something for a while."""
        self._note, self._noted_s = text, now_s

    def mark(self) -> None:
        """Show a mark where the strip is now."""
        if self._shown is not None:
            self._shown.strip.cut("mark")

    def conditions(self, now_s: float) -> str:
        """What to call every stream now, as one line of plain text; it changes with their words alone."""
        verdicts = [(name, heard.condition(now_s)) for name, heard in sorted(self._streams.items())]
        said = (f"{name}: {condition.word}, {condition.sentence}" for name, condition in verdicts)
        return "; ".join(said) or f"{WAITING.word}: {self._waiting()}"

    def frame(self, width: int, height: int, now_s: float, glyphs: Glyphs) -> list[Text]:
        """At most `height` rows, each at most `width` cells; what matters least is left out first."""
        blocks = [*self._top(now_s, glyphs), *self._middle(width, glyphs), *self._bottom(now_s)]
        while blocks and _rows(blocks) > height:
            blocks.remove(min(blocks, key=lambda block: block.weight))
        rows = [row for block in blocks for row in block.rows]
        if _rows(blocks) < height and self._shown is not None:
            rows = self._stretched(blocks, width, height, glyphs)
        for row in rows:
            row.truncate(width, overflow="crop")
        return rows

    def _stretched(self, blocks: list[_Block], width: int, height: int, glyphs: Glyphs) -> list[Text]:
        """The same with a chart as high as there is room for."""
        rows: list[Text] = []
        for block in blocks:
            if block.weight == CHART_WEIGHT and self._shown is not None:
                most = min(CHART_ROWS[1], CHART_ROWS[0] + height - _rows(blocks))
                rows += self._shown.strip.chart(width, most, glyphs)
            else:
                rows += block.rows
        return rows

    def _top(self, now_s: float, glyphs: Glyphs) -> list[_Block]:
        names = Text(end="")
        for name in sorted(self._streams):
            condition = self._streams[name].condition(now_s)
            chosen = name == self._chosen
            names.append(f"{glyphs.here if chosen else ' '}{name} ", "bold" if chosen else "")
            names.append(condition.word.lower(), "" if condition.tone == "good" else TONES[condition.tone])
            names.append("  ")
        shown = self._shown
        condition = replace(WAITING, sentence=self._waiting()) if shown is None else shown.condition(now_s)
        state = Text.assemble((f" {condition.word} ", TONES[condition.tone]), f" {condition.sentence}", end="")
        state.append(f", {condition.age}" if condition.age else "")
        title = Text("sadstream watch ", "bold", end="").append(self._endpoint, QUIET)
        return [_Block(60, [title]), _Block(70, [names]), _Block(100, [state])]

    def _middle(self, width: int, glyphs: Glyphs) -> list[_Block]:
        shown = self._shown
        if shown is None:
            return []
        strip = shown.strip
        return [
            _Block(5, [Text(end="")]),
            _Block(CHART_WEIGHT, strip.chart(width, CHART_ROWS[0], glyphs)),
            _Block(75, [strip.decisions(width)]),
            _Block(40, strip.parts(width, "audio", glyphs)),
            _Block(39, strip.parts(width, "text", glyphs)),
            _Block(45, [strip.moods(width, glyphs)]),
            _Block(44, [strip.episodes(width, glyphs)]),
            _Block(20, [strip.times(width)]),
        ]

    def _bottom(self, now_s: float) -> list[_Block]:
        shown = self._shown
        blocks = []
        if shown is not None:
            blocks = [
                _Block(4, [Text(end="")]),
                _Block(85, [_score(shown.score)]),
                _Block(50, [_episode(shown)]),
                _Block(65, [Text(shown.health(), end="")]),
            ]
        fresh = self._note and now_s - self._noted_s < NOTE_S
        keys = "p pause or resume   tab or arrows: stream   m mark   q quit"
        blocks.append(_Block(80, [Text(self._note if fresh else "", "italic", end="")]))
        return [*blocks, _Block(90, [Text(keys, QUIET, end="")])]

    def _waiting(self) -> str:
        return WAITING.sentence if self._silence is None else finding_line(self._silence)

    @property
    def _shown(self) -> WatchedStream | None:
        return self._streams.get(self._chosen)

    def _heard(self, stream: str) -> WatchedStream:
        if not self._chosen:
            self._chosen = stream
        return self._streams.setdefault(stream, WatchedStream())


def _rows(blocks: list[_Block]) -> int:
    return sum(len(block.rows) for block in blocks)


def _score(score: Score | None) -> Text:
    if score is None:
        return Text("no score yet", QUIET, end="")
    row = Text(f"at {score.t_start:.1f} s  p_sad {score.p_sad:.2f} ", end="")
    row.append("SAD" if score.sad else "not sad", SAD if score.sad else "")
    row.append(", close" if score.uncertain else "")
    row.append("" if score.speaker is None else f"  {score.speaker}")
    if score.audio_logit is not None and score.text_logit is not None:
        row.append(f"  voice {score.audio_logit:+.2f}  words ")
        row.append(f"{score.text_logit:+.2f}" if score.text_used else f"({score.text_reason})")
    row.append("" if score.mood is None else f"  mood {score.mood:.2f}")
    return row.append(emotion_part(score))


def _episode(shown: WatchedStream) -> Text:
    episode = shown.episode
    if episode is None:
        return Text("no episode yet", QUIET, end="")
    over = episode.phase == "end"
    return Text(
        f"episode {episode.episode} {'over' if over else 'ON'}: {episode.t_start:.0f} to {episode.t_end:.0f} s "
        f"({span(episode.t_end - episode.t_start)}), {episode.sad_segments} of {episode.segments} sad, "
        f"evidence {episode.evidence:+.1f}",
        "" if over else SAD,
        end="",
    )
