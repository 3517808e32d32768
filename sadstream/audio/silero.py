"""Whether a segment holds speech: a small network that knows voices, asked after WebRTC's detector and before Whisper.

webrtcvad is a novelty detector: a fan that starts, a keyboard and a dog are speech to it. It is asked of every frame
because it costs 3 microseconds; this one is asked of a closed segment, because it costs milliseconds.
"""

import importlib.util
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from sadstream.audio.filters.level import at_level
from sadstream.base.errors import UnavailableError
from sadstream.base.samples import SEGMENT_SAMPLES

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

PACKAGE = "silero_vad"
WEIGHTS = Path("data", "silero_vad_16k.safetensors")
WEIGHTS_SHA256 = "c59271c284ae9c8335d795d60e0bfdb71aaaceec578d9bd9ffc1b8153c319ea1"
WINDOW, CONTEXT = 512, 64  # samples: 32 ms, and what it sees of the window before
WINDOWS = -(-SEGMENT_SAMPLES // WINDOW)  # 94, the last one filled up with zeros
LEVEL_DBFS = -20.0


STRETCH = 4  # windows: 128 ms, the shortest word; of 1 to 12 windows, 3 and 4 kept most speech for the same noise


@dataclass(frozen=True, slots=True)
class UnscoredSegment:
    """A segment that is not scored, and the probability of speech in the stretch of it that is most like a voice."""

    speech: float
    stranger: bool = False  # somebody speaks, but nobody who is to be scored


class SpeechGate:
    """Segments in; out of each the probability that somebody speaks in it."""

    def __init__(self) -> None:
        self._net = SpeechNet()

    def __call__(self, samples: "NDArray[np.float32]") -> float:
        """The mean probability of speech over the 128 ms of these (48000,) samples where it is greatest."""
        return best_stretch(self._net(samples))


def best_stretch(probabilities: "NDArray[np.float32]") -> float:
    """The greatest mean over STRETCH neighbours of (n,) probabilities; 0 where one of them is not a number."""
    import numpy as np

    sums = np.cumsum(np.concatenate([[0.0], probabilities.astype(np.float64)]))
    best = float((sums[STRETCH:] - sums[:-STRETCH]).max()) / STRETCH
    return best if np.isfinite(sums).all() else 0.0


class SpeechNet:
    """The weights of silero-vad, run over a whole segment at once; their package is never imported."""

    def __init__(self) -> None:
        import torch
        from safetensors.torch import load

        content = _weights()
        tensors = load(content)
        self._stft = tensors["stft_conv.weight"]
        self._convolutions = [(tensors[f"conv{n}.weight"], tensors[f"conv{n}.bias"]) for n in (1, 2, 3, 4)]
        width = tensors["lstm_cell.weight_hh"].shape[1]
        self._lstm = torch.nn.LSTM(width, width)
        self._lstm.load_state_dict({f"{name.split('.')[1]}_l0": t for name, t in tensors.items() if "lstm" in name})
        self._lstm.requires_grad_(False)
        self._final = tensors["final_conv.weight"].flatten(), tensors["final_conv.bias"]

    def __call__(self, samples: "NDArray[np.float32]") -> "NDArray[np.float32]":
        """(94,) probabilities of speech, one for 32 ms, of (48000,) samples at any level."""
        import torch

        with torch.inference_mode():
            levelled = torch.from_numpy(at_level(samples, LEVEL_DBFS))
            probabilities: NDArray[np.float32] = self._probabilities(levelled).numpy()
        return probabilities

    def _probabilities(self, samples: "Tensor") -> "Tensor":
        from torch.nn.functional import conv1d, pad

        padded = pad(samples, (CONTEXT, WINDOWS * WINDOW - samples.shape[0]))
        windows = padded.unfold(0, CONTEXT + WINDOW, WINDOW).unsqueeze(1)
        spectrum = conv1d(pad(windows, (0, CONTEXT), mode="reflect"), self._stft, stride=128)
        real, imaginary = spectrum.chunk(2, dim=1)
        x = (real.square() + imaginary.square()).sqrt()
        for (weight, bias), stride in zip(self._convolutions, (1, 2, 2, 1), strict=True):
            x = conv1d(x, weight, bias, stride=stride, padding=1).relu()
        hidden, _ = self._lstm(x.squeeze(2))
        weight, bias = self._final
        answer: Tensor = (hidden.relu() @ weight + bias).sigmoid()
        return answer


def _weights() -> bytes:
    found = importlib.util.find_spec(PACKAGE)  # finds it without running it
    if found is None or not found.submodule_search_locations:
        raise UnavailableError("speech gate: silero-vad is not installed; pip install silero-vad")
    path = Path(found.submodule_search_locations[0]) / WEIGHTS
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UnavailableError(f"{path}: cannot be read: {error.strerror}; install silero-vad 6.2 again") from None
    digest = sha256(content).hexdigest()
    if digest != WEIGHTS_SHA256:
        raise UnavailableError(
            f"{path}: expected SHA-256 {WEIGHTS_SHA256[:12]}, found {digest[:12]}; pip install 'silero-vad==6.2.*'"
        )
    return content
