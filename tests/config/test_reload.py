"""What a running daemon takes over from a changed configuration."""

import pytest

from sadstream.base.errors import ConfigError
from sadstream.config import Config, parse
from sadstream.config.reload import reload


def test_nothing_new_changes_nothing() -> None:
    change = reload(Config(), Config())

    assert (change.config, change.changed, change.waiting) == (Config(), (), ())


def test_a_threshold_takes_effect_and_models_wait_for_a_restart() -> None:
    new = parse({"model": {"threshold": 0.7, "prior": 0.2}, "whisper": {"model": "base"}}, "new")
    change = reload(Config(), new)

    assert change.changed == ("model.threshold",)
    assert set(change.waiting) == {"model.prior", "whisper.model"}
    assert change.config.model.threshold == 0.7
    assert change.config.model.prior is None
    assert change.config.whisper == Config().whisper


def test_back_to_the_checkpoints_own_threshold_waits_because_only_the_models_know_it() -> None:
    change = reload(parse({"model": {"threshold": 0.7}}, "old"), Config())

    assert change.waiting == ("model.threshold",)
    assert change.config.model.threshold == 0.7


def test_when_models_are_let_go_takes_effect_at_once_and_back() -> None:
    rests = parse({"compute": {"release_after_s": 600.0}}, "new")

    assert reload(Config(), rests).config.compute.release_after_s == 600.0
    assert reload(rests, Config()).config.compute.release_after_s is None


def test_models_are_not_let_go_between_two_segments() -> None:
    with pytest.raises(ConfigError, match="release_after_s"):
        parse({"compute": {"release_after_s": 5.0}}, "new")


def test_other_streams_wait() -> None:
    assert reload(Config(), parse({"stream": [{"name": "room"}]}, "new")).waiting == ("stream",)
