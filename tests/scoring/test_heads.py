"""Heads beside sad: shares that sum to 1, levels within their limits, and a sad logit that does not know of them."""

import math

import pytest
import torch
from pydantic import ValidationError
from test_checkpoint import header
from test_fusion_network import SYSTEMS, inputs
from test_joint import CROSSED, GATED, LEVELS, sound, tokens

from sadstream.base.errors import UnavailableError
from sadstream.scoring.fusion import checkpoint
from sadstream.scoring.fusion.header import FusionConfig, Header, Heads
from sadstream.scoring.fusion.network import Fusion

HEADS = Heads(
    emotions=("angry", "neutral", "sad"),
    temperature=2.0,
    prior=(0.25, 0.5, 0.25),
    dimensions=("arousal", "valence"),
    slopes=(2.0, 1.0),
    shifts=(0.0, -0.5),
)


def beside(config: FusionConfig) -> FusionConfig:
    return config.model_copy(update={"emotions": 3, "dimensions": 2})


def test_shares_are_a_softmax_at_the_temperature_and_levels_stay_within_one() -> None:
    raw = (2.0, 0.0, 4.0, 0.9, 0.2)
    shares = dict(HEADS.shares(raw))

    assert sum(shares.values()) == pytest.approx(1.0)
    assert math.log(shares["sad"] / shares["angry"]) == pytest.approx(1.0)
    assert HEADS.level("arousal", raw) == 1.0  # 1.8 is beyond its end
    assert HEADS.level("valence", raw) == pytest.approx(-0.3)
    assert HEADS.level("dominance", raw) is None


def test_who_has_no_heads_says_nothing() -> None:
    assert Heads().shares(()) == ()
    assert Heads().level("valence", ()) is None


@pytest.mark.parametrize("raw", [(math.nan, 0.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0, math.inf, 0.0)])
def test_an_output_that_is_no_number_is_a_fault(raw: tuple[float, ...]) -> None:
    with pytest.raises(ArithmeticError):
        HEADS.shares(raw)
    with pytest.raises(ArithmeticError):
        HEADS.level("valence", raw)


@pytest.mark.parametrize(
    "change",
    [
        {"emotions": ("sad",), "prior": (1.0 - 1e-6,)},
        {"emotions": ("sad", "sad", "angry")},
        {"prior": (0.5, 0.5, 0.5)},
        {"prior": ()},
        {"dimensions": ("valence", "valence")},
        {"slopes": (1.0,)},
        {"temperature": 0.0},
    ],
)
def test_heads_that_do_not_fit_together_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Heads.model_validate(HEADS.model_dump() | change)


@pytest.mark.parametrize("name", SYSTEMS)
def test_sad_is_the_same_with_heads_beside_it(name: str) -> None:
    plain, more = Fusion(SYSTEMS[name]).eval(), Fusion(beside(SYSTEMS[name])).eval()
    more.load_state_dict(plain.state_dict(), strict=False)
    audio, text = inputs(plain.config)
    parts = more.parts(audio, text)

    assert torch.equal(parts.logit, plain(audio, text))
    assert parts.beside is not None
    assert parts.beside.shape == (3, 5)
    assert plain.parts(audio, text).beside is None


@pytest.mark.parametrize("config", [CROSSED, GATED, LEVELS])
def test_words_and_sound_reach_the_heads_of_systems_that_join_them(config: FusionConfig) -> None:
    fusion = Fusion(beside(config)).eval()
    words = tokens(5, 3) if config.text_tokens else torch.randn(2, 6)
    found = [fusion.parts(heard, said).beside for heard in (sound(), -sound()) for said in (words, 2 * words)]

    assert len({str(one) for one in found}) == 4
    assert fusion.parts(sound(), None).beside is not None


def test_a_header_that_names_other_heads_than_the_network_has_is_refused() -> None:
    config = FusionConfig(channels=(2, 2), hidden=4, text_dim=8)
    plain = header(config)

    assert plain.model_copy(update={"heads": HEADS}).heads.emotions
    for fusion, heads in ((beside(config), Heads()), (config, HEADS)):
        with pytest.raises(ValidationError, match="as many emotions and dimensions"):
            type(plain).model_validate(
                plain.model_dump() | {"fusion": fusion.model_dump(), "heads": heads.model_dump()}
            )


def test_a_checkpoint_keeps_its_heads_and_an_older_one_has_none(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("heads")
    config = FusionConfig(channels=(2, 2), hidden=4, text_dim=8)
    said = header(config).model_dump() | {"fusion": beside(config).model_dump(), "heads": HEADS.model_dump()}
    checkpoint.save(folder / "x.safetensors", Fusion(beside(config)), Header.model_validate(said))
    old = header(config).model_dump(exclude={"heads": True, "fusion": {"emotions", "dimensions"}})

    assert checkpoint.load(folder / "x.safetensors").header.heads == HEADS
    assert Header.model_validate(old).heads == Heads()
    checkpoint.save(folder / "y.safetensors", Fusion(beside(config)), header(config))
    with pytest.raises(UnavailableError):  # weights of heads that the header does not name
        checkpoint.load(folder / "y.safetensors")
