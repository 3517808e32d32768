"""The operating point: how many false alarms are put up with, what is caught for it, and what else could be had."""

from dataclasses import dataclass
from pathlib import Path

from sadstream.base.errors import ConfigError, UnavailableError
from sadstream.base.files import read_whole
from sadstream.config import Config
from sadstream.scoring.fusion.card import DEFAULT_FALSE_ALARMS_H, LEAST_CAUGHT, Card, Offset, card_path
from sadstream.scoring.mood.plan import checkpoint_path

LEARNT: tuple[Offset, ...] = ("off", "auto", "calibrated")
NOT_LEARNT: tuple[Offset, ...] = ("off", "running", "calibrated")  # a card that knows nothing of voices in general


@dataclass(frozen=True, slots=True)
class TradeOffPoint:
    """One point of a curve: false alarms an hour that it can be held to, share caught, seconds until it says so."""

    rate_h: float
    caught: float
    delay_s: float | None


@dataclass(frozen=True, slots=True)
class TradeOffCurve:
    """What can be had with one way to know a voice, and the best of it at each rate."""

    offset: Offset
    choices: list[TradeOffPoint]
    best: list[TradeOffPoint]


@dataclass(frozen=True, slots=True)
class TradeOff:
    """A checkpoint's curves, and the rate that a configuration asks for."""

    model: str
    protocol: str
    hours: float
    speakers: int
    rate_h: float  # asked for; a daemon's episodes say what is in force
    offset: str  # of the configuration
    curves: list[TradeOffCurve]


def trade_off(config: Config) -> TradeOff | None:
    """The card beside the configured checkpoint as curves; None where there is none that can be read."""
    card = _card(checkpoint_path(config))
    if card is None:
        return None
    wanted = config.episode.false_alarms_h
    return TradeOff(
        model=card.model,
        protocol=card.protocol,
        hours=card.hours,
        speakers=card.speakers,
        rate_h=DEFAULT_FALSE_ALARMS_H if wanted is None else wanted,
        offset=config.voice.offset,
        curves=[_curve(card, offset) for offset in (LEARNT if card.auto else NOT_LEARNT)],
    )


def _card(checkpoint: Path) -> Card | None:
    try:
        return Card.model_validate_json(read_whole(card_path(checkpoint)))
    except (OSError, ValueError, ConfigError, UnavailableError):
        return None


def _curve(card: Card, offset: Offset) -> TradeOffCurve:
    points = [point for point in card.points(offset) if point.caught >= LEAST_CAUGHT]
    choices = sorted(
        (TradeOffPoint(round(card.rate(point), 3), point.caught, point.delay_s) for point in points),
        key=lambda choice: (choice.rate_h, -choice.caught),
    )
    best: list[TradeOffPoint] = []
    for choice in choices:
        if not best or choice.caught > best[-1].caught:
            best.append(choice)
    return TradeOffCurve(offset, choices, best)
