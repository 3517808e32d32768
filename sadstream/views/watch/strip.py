"""The moving strip of one stream: a column a score, drawn from what was heard; pure."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from rich.text import Text

from sadstream.client.lines import local_clock
from sadstream.events import Episode, Score
from sadstream.views.watch.glyphs import Glyphs

GUTTER = 13  # cells left of the columns: what the row is, and its scale
KEPT_COLUMNS = 500  # wider than any terminal
KEPT_EPISODES = 50
TWO_TIMES = 18  # columns that have room for two times of day
FULL_PART = 3.0  # log-likelihood ratio that fills a cell; the shipped checkpoint's cap
SAD, CLOSE, QUIET = "bold magenta", "yellow", "dim"

Cut = Literal["lost", "restart", "deaf", "mark"]
CUT_LETTERS: dict[Cut, str] = {"lost": "?", "restart": "R", "deaf": "!", "mark": "M"}


@dataclass(frozen=True, slots=True)
class Column:
    """A score, or what stands between two of them."""

    score: Score | None = None
    cut: Cut | None = None


class Strip:
    """Columns and episodes of one stream, and the rows that show them."""

    __slots__ = ("_columns", "_episodes")

    def __init__(self) -> None:
        self._columns: deque[Column] = deque(maxlen=KEPT_COLUMNS)
        self._episodes: dict[tuple[str, int], Episode] = {}

    def score(self, score: Score) -> None:
        """Add a score; a final one takes the place of its provisional one."""
        last = self._columns[-1].score if self._columns else None
        if last is not None and last.provisional and (last.session, last.segment) == (score.session, score.segment):
            self._columns.pop()
        self._columns.append(Column(score=score))

    def cut(self, cut: Cut) -> None:
        """Something happened between two scores; twice the same in a row is shown once."""
        if not self._columns or self._columns[-1].cut != cut:
            self._columns.append(Column(cut=cut))

    def episode(self, episode: Episode) -> None:
        """What became of an episode."""
        self._episodes[episode.session, episode.episode] = episode
        while len(self._episodes) > KEPT_EPISODES:
            del self._episodes[next(iter(self._episodes))]

    def visible(self, width: int) -> Sequence[Column]:
        """The newest columns that fit in a row of this width."""
        return list(self._columns)[-max(1, width - GUTTER) :]

    def chart(self, width: int, height: int, glyphs: Glyphs) -> list[Text]:
        """`height` rows of bars from 0 at the bottom to 1 at the top, with the newest score's threshold across."""
        shown = self.visible(width)
        thresholds = [column.score.threshold for column in shown if column.score]
        line = min(height - 1, int(thresholds[-1] * height)) if thresholds else None
        rows = []
        for level in reversed(range(height)):
            scale = "1.0" if level == height - 1 else "0.0" if level == 0 else ""
            scale = f"{thresholds[-1]:.2f}" if level == line else scale
            label = "p_sad" if level == height - 1 else "limit" if level == line else ""
            row = _gutter(label, f"{scale}{glyphs.edge}")
            row.append(" " * (width - GUTTER - len(shown)))
            for column in shown:
                row.append_text(_bar(column, level, height, glyphs, is_line=level == line))
            rows.append(row)
        return rows

    def decisions(self, width: int) -> Text:
        """S under sad scores, ~ under those too close to call, and why scores do not follow each other."""
        return self._row("S sad", "~ close", width, _decision)

    def parts(self, width: int, part: Literal["audio", "text"], glyphs: Glyphs) -> list[Text]:
        """Two rows: what speaks for sad stands up, what speaks against it hangs down."""

        def above(score: Score) -> tuple[str, str]:
            value = _part(score, part)
            return (glyphs.unused, QUIET) if value is None else (glyphs.up(value / FULL_PART), SAD)

        def below(score: Score) -> tuple[str, str]:
            return glyphs.down(-(_part(score, part) or 0.0) / FULL_PART), ""

        name = "voice" if part == "audio" else "words"
        return [self._row(name, "for", width, above), self._row("", "against", width, below)]

    def moods(self, width: int, glyphs: Glyphs) -> Text:
        """The smoothed probability, a cell a score."""
        return self._row("mood", "", width, lambda score: (glyphs.up(score.mood or 0.0), ""))

    def episodes(self, width: int, glyphs: Glyphs) -> Text:
        """A line under the scores that are an episode's evidence."""
        return self._row("episode", "", width, lambda score: (glyphs.episode if self._in_episode(score) else " ", SAD))

    def times(self, width: int) -> Text:
        """When the oldest and the newest score in sight were said."""
        times = [local_clock(column.score.time) for column in self.visible(width) if column.score]
        span = len(self.visible(width))
        first = times[0].ljust(span) if times and span >= TWO_TIMES else ""
        line = f"{first[:-8]}{times[-1]}" if times else ""
        return _gutter("time", "").append(line.rjust(width - GUTTER))

    def _in_episode(self, score: Score) -> bool:
        return any(
            session == score.session
            and found.first_score_seq <= score.seq
            and (found.phase != "end" or score.seq <= found.last_score_seq)
            for (session, _), found in self._episodes.items()
        )

    def _row(self, name: str, scale: str, width: int, cell: Callable[[Score], tuple[str, str]]) -> Text:
        shown = self.visible(width)
        row = _gutter(name, scale)
        row.append(" " * (width - GUTTER - len(shown)))
        for column in shown:
            if column.score is not None:
                row.append(*cell(column.score))
            else:
                row.append(CUT_LETTERS[column.cut] if cell is _decision and column.cut else " ", QUIET)
        return row


def _gutter(name: str, scale: str) -> Text:
    return Text.assemble((f"{name:<{GUTTER - 1 - len(scale)}}{scale} ", QUIET), end="")


def _bar(column: Column, level: int, height: int, glyphs: Glyphs, is_line: bool) -> Text:
    if column.score is None:
        return Text(glyphs.cut, QUIET)
    cell = glyphs.up(column.score.p_sad * height - level)
    if cell == " " and level == 0:
        cell = glyphs.up(1.0 / 8)  # heard, and not sad at all
    if cell == " ":
        return Text(glyphs.threshold if is_line else " ", QUIET)
    return Text(cell, _style(column.score))


def _style(score: Score) -> str:
    if score.uncertain:
        return CLOSE
    return SAD if score.sad else ""


def _decision(score: Score) -> tuple[str, str]:
    letter = "S" if score.sad else " "
    return ("~", CLOSE) if score.uncertain else (letter, SAD)


def _part(score: Score, part: Literal["audio", "text"]) -> float | None:
    """The part's log-likelihood ratio; None for words that did not count, and for a model without parts."""
    if part == "text" and not score.text_used:
        return None
    return score.audio_logit if part == "audio" else score.text_logit
