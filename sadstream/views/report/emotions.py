"""What is heard beside sad, as tracks of a row: small bars for each emotion, lines of valence and arousal."""

from collections.abc import Sequence
from dataclasses import dataclass

from sadstream.views.report.axis import GUTTER, UNITS_S, WIDTH, label
from sadstream.views.report.data import ReportData, ReportSegment
from sadstream.views.report.markup import Tree, add, number

BAR_HEIGHT, BAR_EVERY = 12, 16  # units: of a bar that is certain, from one emotion's ground to the next's
LEVEL_HEIGHT, GAP = 44, 8
LETTERS = GUTTER // 5  # of a name that fits in the gutter
LEVELS = ("valence", "arousal")


@dataclass(frozen=True, slots=True)
class EmotionTracks:
    """Which there are, in the checkpoint's order, and where they begin; none where none is told."""

    top: int
    emotions: tuple[str, ...]
    levels: tuple[str, ...]

    @property
    def level_top(self) -> int:
        """Where valence and arousal begin."""
        return self.top + (BAR_EVERY * len(self.emotions) + GAP if self.emotions else 0)

    @property
    def bottom(self) -> int:
        """Where the next track may begin."""
        return self.level_top + (LEVEL_HEIGHT + GAP if self.levels else 0)


def emotion_tracks(report: ReportData, top: int) -> EmotionTracks:
    """The tracks that a recording needs."""
    scores = [segment.score for segment in report.segments]
    names = dict.fromkeys(name for score in scores for name in score.emotions or ())
    levels = tuple(name for name in LEVELS if any(getattr(score, name) is not None for score in scores))
    return EmotionTracks(top, tuple(names), levels)


def label_emotions(svg: Tree, tracks: EmotionTracks) -> None:
    """Their names, left of them."""
    for at, name in enumerate(tracks.emotions):
        label(svg, name if len(name) <= LETTERS else f"{name[: LETTERS - 1]}…", _ground(tracks, at) - BAR_HEIGHT / 2)
    for at, name in enumerate(tracks.levels):
        label(svg, name, tracks.level_top + 8 + 12 * at, name)
    if tracks.levels:
        label(svg, "±1", tracks.level_top + LEVEL_HEIGHT - 8)


def draw_emotions(inner: Tree, tracks: EmotionTracks, shown: Sequence[ReportSegment], row_start: float) -> None:
    """A row's: each bar as high as its probability, on its own ground; valence and arousal at the segments' ends."""
    for at, name in enumerate(tracks.emotions):
        y = _ground(tracks, at)
        add(inner, "line", class_="axis", x1=0, x2=WIDTH, y1=y, y2=y)
        for segment in shown:
            _bar(inner, segment, name, y, row_start)
    top, height = tracks.level_top, LEVEL_HEIGHT
    if tracks.levels:
        add(inner, "line", class_="axis", x1=0, x2=WIDTH, y1=top + height / 2, y2=top + height / 2)
    for name in tracks.levels:
        points = [
            ((one.score.t_end - row_start) * UNITS_S, top + height / 2 * (1.0 - value))
            for one in shown
            if (value := getattr(one.score, name)) is not None
        ]
        add(inner, "polyline", class_=name, points=" ".join(f"{number(x)} {number(y)}" for x, y in points))
        for x, y in points:
            add(inner, "circle", class_=f"dot {name}", cx=x, cy=y, r=2)


def _bar(inner: Tree, segment: ReportSegment, name: str, ground: float, row_start: float) -> None:
    score = segment.score
    share = (score.emotions or {}).get(name)
    if share is None:
        return
    x, width = (score.t_start - row_start) * UNITS_S, (score.t_end - score.t_start) * UNITS_S
    height = max(0.3, BAR_HEIGHT * share)  # what is unlikely is seen to be there
    kind = "emotion likeliest" if score.likeliest == (name, share) else "emotion"
    bar = add(inner, "rect", class_=kind, x=x + 1, y=ground - height, width=width - 2, height=height)
    add(bar, "title", f"segment {score.segment}: {name} {share:.2f}")


def _ground(tracks: EmotionTracks, at: int) -> int:
    return tracks.top + BAR_EVERY * (at + 1)
