"""The page: one HTML document with its style, its drawings, the numbers behind them and, if asked for, the sound."""

import base64
import hashlib
import json
from collections.abc import Iterable
from importlib.resources import files

from sadstream import __version__
from sadstream.events import Score, to_json
from sadstream.views.report.data import ReportData, ReportSegment
from sadstream.views.report.drawing import drawn_row, overview, summary
from sadstream.views.report.emotions import EmotionTracks, emotion_tracks
from sadstream.views.report.markup import Tree, add, clock, to_html, tree
from sadstream.views.report.spectrogram import SoundRow

NOT_FOR = (
    "A score says how a few seconds of speech sounded to a model that learnt from actors. It is no diagnosis and says "
    "nothing of anybody's mental health; nobody should be judged by it."
)
READING = (
    ("", "a segment of speech, as high as its probability of sadness; dashed: the threshold"),
    ("sad", "decided sad; outlined: too close to call"),
    ("weight", "where the model looked: the share of the segment's attention"),
    ("voice", "the voice, for sadness (up) or against it, in log-odds"),
    ("words", "the words; nothing where they did not count"),
    ("mood", "scores smoothed over time; below it the episodes"),
)
READING_EMOTIONS = (
    ("emotion likeliest", "an emotion, as high as its probability; darkest: the likeliest"),
    ("valence", "from unpleasant (down) to pleasant"),
    ("arousal", "from calm (down) to excited"),
)


def page(report: ReportData, rows: Iterable[SoundRow], flac: bytes | None = None) -> str:
    """The document; flac: the sound to play in it, or none."""
    html = tree("html", lang="en")
    head, body = add(html, "head"), add(html, "body")
    style = (files("sadstream.views.report") / "page.css").read_text()
    script = (files("sadstream.views.report") / "page.js").read_text()
    _head(head, report, style, script if flac else "")
    add(body, "h1", report.name)
    add(body, "p", f"{summary(report)}.", class_="facts")
    for note in report.notes:
        add(body, "p", f"Its sound: {note}.", class_="facts")
    if flac is not None:
        add(body, "audio", controls="", src=f"data:audio/flac;base64,{base64.b64encode(flac).decode()}")
    _scrolled(body, "the whole recording").append(overview(report))
    tracks = emotion_tracks(report, 0)
    _reading(body, tracks)
    drawings = _scrolled(body, "the recording, row by row")
    for row in rows:
        drawings.append(drawn_row(report, row))
    _episodes(body, report)
    _table(body, report, tracks, plays=flac is not None)
    _foot(body, report)
    scores = ",".join(_score_json(segment.score) for segment in report.segments)
    add(body, "script", f"[{scores}]", type="application/json", id="scores")
    if flac is not None:
        add(body, "script", script)
    return to_html(html)


def _head(head: Tree, report: ReportData, style: str, script: str) -> None:
    policy = f"default-src 'none'; img-src data:; style-src '{_hash(style)}'"
    if script:
        policy += f"; media-src data:; script-src '{_hash(script)}'"
    add(head, "meta", charset="utf-8")
    add(head, "meta", http_equiv="Content-Security-Policy", content=policy)
    add(head, "meta", name="viewport", content="width=device-width, initial-scale=1")
    add(head, "meta", name="generator", content=f"sadstream {__version__}")
    add(head, "title", f"{report.name}: sadstream")
    add(head, "style", style)


def _reading(body: Tree, tracks: EmotionTracks) -> None:
    keys = add(body, "ul", class_="keys", aria_label="how to read it")
    there = {"emotion likeliest": tracks.emotions} | dict.fromkeys(tracks.levels, ("there",))
    for key, meaning in (*READING, *(one for one in READING_EMOTIONS if there.get(one[0]))):
        add(add(keys, "li"), "span", class_=f"key {key}".strip()).tail = meaning


def _episodes(body: Tree, report: ReportData) -> None:
    add(body, "h2", "Episodes")
    if not report.false_alarms_h:
        add(body, "p", "None were looked for: the checkpoint's card, or the configuration, names no operating point.")
        return
    add(body, "p", f"At {report.false_alarms_h:g} false alarms an hour: {len(report.episodes)} found.")
    for update in report.episodes:
        said = f"Episode {update.episode}, {clock(update.t_start)} to {clock(update.t_end)}: {update.sad_segments} of "
        add(
            body, "p", f"{said}{update.segments} segments sad on their own, evidence {update.evidence:+.1f} at its end."
        )


def _table(body: Tree, report: ReportData, tracks: EmotionTracks, plays: bool) -> None:
    add(body, "h2", "Segments")
    table = add(_scrolled(body, "segments"), "table", **({"class_": "wide"} if tracks.emotions else {}))
    names = ["", "from", "to", "p sad", "threshold", "", "voice", "words", "bias", "offset", "mood", "voiced"]
    head = add(table, "thead")
    if tracks.emotions:
        groups = add(head, "tr")
        add(groups, "td", colspan=len(names))
        add(groups, "th", "emotions", scope="colgroup", colspan=len(tracks.emotions), class_="group")
    header = add(head, "tr")
    names += [*tracks.emotions, *tracks.levels]
    for name in [*names, "heard"] if report.with_words else names:
        add(header, "th", name, scope="col", class_="said" if name == "heard" else "number")
    rows = add(table, "tbody")
    for segment in report.segments:
        _table_row(rows, segment, tracks, report.with_words, plays)


def _table_row(rows: Tree, segment: ReportSegment, tracks: EmotionTracks, with_words: bool, plays: bool) -> None:
    score = segment.score
    row = add(rows, "tr", class_="sad" if score.sad else "other")
    cell = add(row, "td")
    if plays:
        add(cell, "button", f"play {score.segment}", data_seconds=f"{score.t_start:.3f}")
    else:
        cell.text = str(score.segment)
    decision = "sad" if score.sad else "not sad"
    words = _signed(score.text_logit) if score.text_used else score.text_reason
    felt = score.emotions or {}
    for text in (
        f"{score.t_start:.2f}", f"{score.t_end:.2f}", f"{score.p_sad:.3f}", f"{score.threshold:.3f}",
        f"{decision}, close" if score.uncertain else decision, _signed(score.audio_logit), words,
        _signed(score.bias_logit), _signed(score.offset_logit),
        "" if score.mood is None else f"{score.mood:.2f}", f"{100 * score.voiced:.0f} %",
        *("" if name not in felt else f"{felt[name]:.2f}" for name in tracks.emotions),
        *(_signed(getattr(score, name)) for name in tracks.levels),
    ):  # fmt: skip
        add(row, "td", text)
    if with_words:
        add(row, "td", segment.words, class_="said")


def _foot(body: Tree, report: ReportData) -> None:
    add(body, "h2", "What this is")
    add(body, "p", NOT_FOR)
    made = f"sadstream {__version__}, checkpoint {report.model} ({report.system}, {report.licence})."
    kept = "The words are those that were heard." if report.with_words else "It holds no words of what was said."
    add(body, "p", f"Made by {made} {kept}", class_="faint")


def _scrolled(body: Tree, name: str) -> Tree:
    """A part that is wider than a phone: it scrolls by itself, also by keyboard."""
    return add(body, "div", class_="scroll", tabindex=0, role="region", aria_label=name)


def _signed(part: float | None) -> str:
    return "" if part is None else f"{part:+.2f}"


def _score_json(score: Score) -> str:
    """The event as it is printed, safe inside a script element."""
    return json.dumps(json.loads(to_json(score)), separators=(",", ":")).replace("<", "\\u003c")


def _hash(content: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}"
