"""`sadstream doctor`: test each part for real, and one line a fault that says how to mend it."""

from collections.abc import Callable

from sadstream.base.boundary import from_system
from sadstream.base.errors import SadstreamError, UnavailableError, UsageError


def examine(only: str | None = None) -> int:
    """Print a line a part; 69 if something that the daemon needs is broken. A missing microphone or GPU is no fault."""
    chosen = [check for check in CHECKS if only in (None, check[0])]
    if not chosen:
        raise UsageError(f"doctor --only {only}: expected one of {', '.join(name for name, _, _ in CHECKS)}")
    faults = 0
    for name, check, required in chosen:
        try:
            print(f"ok       {name}: {check()}")
        except (SadstreamError, ModuleNotFoundError) as error:
            said = from_system(error)
            if said is None:
                raise
            is_fault = required and not isinstance(error, ModuleNotFoundError)  # a room without models is whole
            faults += is_fault
            print(f"{'FAULT' if is_fault else 'absent'}    {name}: {said}"[:400])
    return 69 if faults else 0


def _portaudio() -> str:
    from sadstream.audio.sources.capture import devices

    found = devices()
    return f"{len(found)} capture device(s)" if found else "works; no capture device (recordings need none)"


def _vad() -> str:
    from sadstream.audio.vad import webrtc_detector
    from sadstream.base.samples import FRAME_BYTES, SAMPLE_RATE

    if webrtc_detector(2).is_speech(bytes(FRAME_BYTES), SAMPLE_RATE):
        raise UnavailableError("webrtcvad calls digital silence speech; pip install --force-reinstall webrtcvad-wheels")
    return "webrtcvad"


def _torch() -> str:
    import torch

    from sadstream.scoring.weights.packed import can_pack

    layers = "packed float16" if can_pack() else "float32"
    return f"{torch.__version__}, {torch.get_num_threads()} thread(s), {layers} layers"


def _log_mel() -> str:
    import torch

    from sadstream.scoring.fusion.features import log_mel
    from sadstream.scoring.fusion.header import LogMelConfig
    from sadstream.scoring.fusion.torchaudio_library import usable

    frames, bands = log_mel(torch.zeros(48_000), LogMelConfig()).shape
    made_by = "torchaudio" if usable() is not None else "torch, as there is no torchaudio"
    return f"({frames}, {bands}) by {made_by}"


def _cuda() -> str:
    import torch

    if not torch.cuda.is_available():
        raise UnavailableError("none found: the models run on the CPU")
    return torch.cuda.get_device_name()


def _models() -> str:
    from sadstream.cli.setup.inventory import needed
    from sadstream.scoring.fusion import checkpoint
    from sadstream.scoring.weights import store as models
    from sadstream.scoring.weights.locate import locate

    header = checkpoint.load(checkpoint.default_path()).header
    kinds = {spec.name: spec.kind for spec in models.KNOWN}
    found = [models.verify(locate(name, kinds[name])).name for name in needed(header)]
    return f"{header.system} with {', '.join(found)}"


def _bind() -> str:
    from sadstream.daemon.publishing.publisher import Publisher
    from sadstream.events import DEFAULT_ENDPOINT

    with Publisher(DEFAULT_ENDPOINT):
        return DEFAULT_ENDPOINT


CHECKS: tuple[tuple[str, Callable[[], str], bool], ...] = (
    ("microphone", _portaudio, False),
    ("voice activity detection", _vad, True),
    ("torch", _torch, True),
    ("log-Mel", _log_mel, True),
    ("CUDA", _cuda, False),
    ("models", _models, True),
    ("endpoint", _bind, True),
)
