"""A row of a recording as one drawing: sound, attention, scores, their parts, mood, episodes, emotions, words."""

import base64
import textwrap
from collections.abc import Sequence

from sadstream.views.report.axis import GUTTER, UNITS_S, WIDTH, label
from sadstream.views.report.data import ReportData, ReportSegment
from sadstream.views.report.emotions import EmotionTracks, draw_emotions, emotion_tracks, label_emotions
from sadstream.views.report.markup import Tree, add, clock, number, tree
from sadstream.views.report.spectrogram import ROW_S, ROW_STEPS, SoundRow, to_png

# Where each track begins, and how high it is.
RULER, WAVE, SPECTRUM, ATTENTION, SCORE, PARTS, MOOD = (
    (0, 16), (18, 44), (64, 80), (148, 30), (190, 60), (258, 44), (308, 34)
)  # fmt: skip
EPISODE_HEIGHT = 10
# The same of the overview, and the heights at which its labels stand.
STRIP_HEIGHT, STRIP_SCORE, STRIP_EPISODES = 96, (4, 68), 78
STRIP_SCORE_END = sum(STRIP_SCORE)
STRIP_SCORE_LABEL, STRIP_EPISODES_LABEL = 40, 84
# Units: where emotions begin, where words do after these, a line of words, a letter's width.
EMOTIONS_TOP, WORDS_GAP, LINE_HEIGHT, LETTER = 358, 8, 12, 4.9
FULL_PART = 3.0  # log-likelihood ratio that reaches the edge of its track


def overview(report: ReportData) -> Tree:
    """The whole recording in one strip: a bar a segment, episodes below; each row of the page is a link."""
    span = max(report.duration_s, 1.0)
    scale = WIDTH / span
    svg = tree(
        "svg",
        class_="overview",
        viewBox=f"0 0 {GUTTER + WIDTH} {STRIP_HEIGHT}",
        role="group",
        aria_label=summary(report),
    )
    label(svg, "p sad", STRIP_SCORE_LABEL)
    label(svg, "episodes", STRIP_EPISODES_LABEL)
    inner = add(svg, "svg", x=GUTTER, width=WIDTH, height=STRIP_HEIGHT, viewBox=f"0 0 {WIDTH} {STRIP_HEIGHT}")
    for segment in report.segments:
        score = segment.score
        height = max(1.0, STRIP_SCORE[1] * score.p_sad)
        x, width = score.t_start * scale, max(1.0, (score.t_end - score.t_start) * scale - 0.5)
        bar = add(inner, "rect", class_=_kind(segment), x=x, y=STRIP_SCORE_END - height, width=width, height=height)
        add(bar, "title", _sentence(segment))
    if report.segments:
        y = STRIP_SCORE_END - STRIP_SCORE[1] * report.segments[-1].score.threshold
        add(inner, "line", class_="limit", x1=0, x2=WIDTH, y1=y, y2=y)
    add(inner, "line", class_="axis", x1=0, x2=WIDTH, y1=STRIP_SCORE_END, y2=STRIP_SCORE_END)
    for update in report.episodes:
        width = max(2.0, (update.t_end - update.t_start) * scale)
        add(
            inner,
            "rect",
            class_="episode",
            x=update.t_start * scale,
            y=STRIP_EPISODES,
            width=width,
            height=EPISODE_HEIGHT,
        )
    for at in range(0, max(1, int(span)), ROW_S):
        link = add(inner, "a", href=f"#at-{at}", aria_label=f"row from {clock(at)}")
        add(link, "rect", class_="door", x=at * scale, y=0, width=ROW_S * scale, height=STRIP_HEIGHT)
    return svg


def drawn_row(report: ReportData, row: SoundRow) -> Tree:
    """All tracks of ROW_S seconds, on one time axis."""
    t_end = row.t_start + ROW_S
    shown = [one for one in report.segments if one.score.t_start < t_end and one.score.t_end > row.t_start]
    lines = max((len(_lines(one, row.t_start)) for one in shown), default=0)
    tracks = emotion_tracks(report, EMOTIONS_TOP)
    words_top = tracks.bottom + WORDS_GAP
    height = (words_top + lines * LINE_HEIGHT + 4) if lines else tracks.bottom + 2
    said = f"{clock(row.t_start)} to {clock(min(t_end, report.duration_s))}: {len(shown)} segments, "
    svg = tree(
        "svg", class_="row", id=f"at-{row.t_start:.0f}", viewBox=f"0 0 {GUTTER + WIDTH} {height}", role="img",
        aria_label=said + f"{sum(one.score.sad for one in shown)} sad", data_start=row.t_start, data_seconds=ROW_S,
    )  # fmt: skip
    _labels(svg, report, tracks, lines > 0)
    inner = add(svg, "svg", class_="sound", x=GUTTER, width=WIDTH, height=height, viewBox=f"0 0 {WIDTH} {height}")
    add(inner, "rect", class_="ground", x=0, y=WAVE[0], width=WIDTH, height=height - WAVE[0])
    _ruler(inner, row.t_start, report.duration_s)
    _sound(inner, row)
    for one in shown:
        _segment(inner, one, row.t_start, report.peak_share, words_top)
    _limits(inner, shown)
    _moods(inner, shown, row.t_start)
    _episodes(inner, report, row.t_start)
    draw_emotions(inner, tracks, shown, row.t_start)
    add(inner, "line", class_="head", x1=-1, x2=-1, y1=WAVE[0], y2=height)
    return svg


def summary(report: ReportData) -> str:
    """The recording in one sentence."""
    sad = sum(one.score.sad for one in report.segments)
    n = len(report.episodes)
    episodes = f"{n} episode{'' if n == 1 else 's'}" if report.false_alarms_h else "episodes were not looked for"
    return f"{clock(report.duration_s)} long, {len(report.segments)} segments of speech, {sad} of them sad, {episodes}"


def _labels(svg: Tree, report: ReportData, tracks: EmotionTracks, has_words: bool) -> None:
    for name, (top, height) in (("wave", WAVE), ("0 to 8 kHz", SPECTRUM), ("attention", ATTENTION), ("p sad", SCORE)):
        label(svg, name, top + height / 2)
    label(svg, "voice", PARTS[0] + 8, "voice")
    label(svg, "words", PARTS[0] + 20, "words")
    label(svg, f"±{FULL_PART:.0f}", PARTS[0] + 36)
    label(svg, "mood", MOOD[0] + 14)
    if report.episodes:
        label(svg, "episodes", MOOD[0] + MOOD[1] + 5)
    label_emotions(svg, tracks)
    if has_words:
        label(svg, "heard", tracks.bottom + WORDS_GAP)


def _ruler(inner: Tree, t_start: float, duration_s: float) -> None:
    for second in range(ROW_S):
        if t_start + second > duration_s:
            return
        x, whole = second * UNITS_S, second % 5 == 0
        add(inner, "line", class_="tick", x1=x, x2=x, y1=10 if whole else 13, y2=RULER[1])
        if whole:
            add(inner, "text", clock(t_start + second), class_="time", x=x + 3, y=11)


def _sound(inner: Tree, row: SoundRow) -> None:
    top, height = WAVE
    step, middle = WIDTH / ROW_STEPS, top + height / 2
    above = [f"{number(at * step)} {number(middle - v * height / 2)}" for at, v in enumerate(row.high.tolist())]
    below = [f"{number(at * step)} {number(middle - v * height / 2)}" for at, v in enumerate(row.low.tolist())]
    add(inner, "path", class_="wave", d=f"M{'L'.join(above + below[::-1])}Z")
    picture = base64.b64encode(to_png(row.spectrum)).decode()
    add(
        inner, "image", class_="spectrum", href=f"data:image/png;base64,{picture}", x=0, y=SPECTRUM[0],
        width=float(row.spectrum.shape[1]), height=SPECTRUM[1], preserveAspectRatio="none",
    )  # fmt: skip


def _segment(inner: Tree, segment: ReportSegment, row_start: float, peak_share: float, words_top: float) -> None:
    score = segment.score
    x, width = (score.t_start - row_start) * UNITS_S, (score.t_end - score.t_start) * UNITS_S
    group = add(inner, "g", class_=_kind(segment), data_segment=score.segment)
    add(group, "title", _sentence(segment))
    add(group, "rect", class_="span", x=x, y=WAVE[0], width=width, height=SCORE[0] + SCORE[1] - WAVE[0])
    _attention(group, segment, row_start, peak_share)
    top, height = SCORE
    filled = max(1.0, height * score.p_sad)
    add(group, "rect", class_="score", x=x + 1, y=top + height - filled, width=width - 2, height=filled)
    _parts(group, segment, x, width)
    if not _has_its_place(segment, row_start):
        return
    left, right = max(0.0, x), min(float(WIDTH), x + width)
    y = max(top + 8, top + height - filled - 3)
    add(group, "text", f"{score.p_sad:.2f}", class_="value", x=(left + right) / 2, y=y)
    for at, line in enumerate(_lines(segment, row_start)):
        kind = "heard" if segment.words_counted else "heard unused"
        add(group, "text", line, class_=kind, x=left + 1, y=words_top + 4 + at * LINE_HEIGHT)


def _attention(group: Tree, segment: ReportSegment, row_start: float, peak_share: float) -> None:
    top, height = ATTENTION
    for weight in segment.weights:
        x, width = (weight.t_start - row_start) * UNITS_S, (weight.t_end - weight.t_start) * UNITS_S
        high = height * weight.share / peak_share
        add(group, "rect", class_="weight", x=x, y=top + height - high, width=max(0.5, width - 1), height=high)


def _parts(group: Tree, segment: ReportSegment, x: float, width: float) -> None:
    top, height = PARTS
    middle = top + height / 2
    add(group, "line", class_="axis", x1=x + 1, x2=x + width - 1, y1=middle, y2=middle)
    score = segment.score
    for name, part, shift in (("voice", score.audio_logit, 0.0), ("words", score.text_logit, 0.5)):
        if part is None or (name == "words" and not segment.words_counted):
            continue
        high = height / 2 * max(-1.0, min(1.0, part / FULL_PART))
        bar_x, bar_width = x + 2 + shift * (width - 4), (width - 4) / 2 - 1
        add(group, "rect", class_=name, x=bar_x, y=middle - max(0.0, high), width=bar_width, height=abs(high))


def _limits(inner: Tree, shown: Sequence[ReportSegment]) -> None:
    top, height = SCORE
    add(inner, "line", class_="axis", x1=0, x2=WIDTH, y1=top + height, y2=top + height)
    if shown:
        y = top + height * (1.0 - shown[-1].score.threshold)
        add(inner, "line", class_="limit", x1=0, x2=WIDTH, y1=y, y2=y)


def _moods(inner: Tree, shown: Sequence[ReportSegment], row_start: float) -> None:
    top, height = MOOD
    points = [
        f"{number((one.score.t_end - row_start) * UNITS_S)} {number(top + height * (1.0 - one.score.mood))}"
        for one in shown
        if one.score.mood is not None
    ]
    add(inner, "line", class_="axis", x1=0, x2=WIDTH, y1=top + height, y2=top + height)
    if points:
        add(inner, "polyline", class_="mood", points=" ".join(points))
        for point in points:
            x, y = point.split()
            add(inner, "circle", class_="dot", cx=x, cy=y, r=2)


def _episodes(inner: Tree, report: ReportData, row_start: float) -> None:
    for update in report.episodes:
        x, width = (update.t_start - row_start) * UNITS_S, (update.t_end - update.t_start) * UNITS_S
        if x + width < 0 or x > WIDTH:
            continue
        bar = add(inner, "rect", class_="episode", x=x, y=MOOD[0] + MOOD[1] + 2, width=width, height=EPISODE_HEIGHT)
        add(bar, "title", f"episode {update.episode}: {update.sad_segments} of {update.segments} segments sad")


def _kind(segment: ReportSegment) -> str:
    kind = "segment sad" if segment.score.sad else "segment"
    return f"{kind} close" if segment.score.uncertain else kind


def _sentence(segment: ReportSegment) -> str:
    score = segment.score
    said = (
        f"segment {score.segment}, {score.t_start:.2f} to {score.t_end:.2f} s: p sad {score.p_sad:.3f}, "
        f"{'sad' if score.sad else 'not sad'} at {score.threshold:.3f}"
    )
    return said + (", too close to call" if score.uncertain else "")


def _inside(segment: ReportSegment, row_start: float) -> float:
    """Seconds of a segment that lie in this row."""
    return min(segment.score.t_end, row_start + ROW_S) - max(segment.score.t_start, row_start)


def _has_its_place(segment: ReportSegment, row_start: float) -> bool:
    """Of a segment that a row's end cuts, what is written stands in the row with the greater part."""
    return _inside(segment, row_start) > (segment.score.t_end - segment.score.t_start) / 2


def _lines(segment: ReportSegment, row_start: float) -> list[str]:
    """Its words in this row, in as many lines as its width asks for."""
    if not segment.words or not _has_its_place(segment, row_start):
        return []
    return textwrap.wrap(
        segment.words, max(8, int(_inside(segment, row_start) * UNITS_S / LETTER)), break_long_words=True
    )
