"""Everything that somebody else may have written."""

from fuzz.trial import Target

_ALL = (
    Target("recordings", 150, "sounds.recordings"),
    Target("pipes", 60, "sounds.pipes"),
    Target("configurations", 100, "settings.configurations"),
    Target("presets", 40, "settings.presets"),
    Target("events", 120, "messages.events"),
    Target("control", 60, "messages.control"),
    Target("answers", 30, "messages.answers"),
    Target("replay", 60, "messages.replay"),
    Target("zmtp", 40, "messages.zmtp"),
    Target("keys", 40, "messages.keys"),
    Target("checkpoints", 50, "stored.checkpoints"),
    Target("cards", 30, "stored.cards"),
    Target("speakers", 20, "stored.speakers"),
    Target("journals", 25, "stored.journals"),
    Target("bundles", 30, "stored.bundles"),
    Target("corpora", 50, "corpora.corpora"),
    Target("manifests", 30, "corpora.manifests"),
    Target("http", 20, "web.http"),
    Target("pages", 30, "web.pages"),
)
TARGETS = {target.name: target for target in _ALL}
NAUGHTY = Target("naughty", 0, "naughty.naughty")  # what the harness itself is tried with


def target(name: str) -> Target:
    """The target of this name; KeyError for none."""
    return NAUGHTY if name == NAUGHTY.name else TARGETS[name]
