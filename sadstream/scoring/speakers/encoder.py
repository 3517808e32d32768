"""Whose voice a segment is: an embedding of it, by an existing encoder, to be compared with those of enrolled people.

Resemblyzer's weights (a three-layer LSTM trained by the GE2E loss, Wan et al. 2018); their package is never imported.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sadstream.base.errors import UnavailableError
from sadstream.base.samples import exact_div
from sadstream.scoring.fusion.features import mel_power
from sadstream.scoring.fusion.header import LogMelConfig
from sadstream.scoring.weights.store import load_tensors

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

NAME = "resemblyzer"
BANDS = LogMelConfig(n_fft=400, window=400, hop=160, n_mels=40)  # 25 ms every 10 ms, as the weights were trained
LEVEL_DBFS = -30.0
WINDOW_FRAMES = 160  # 1.6 s, as trained
STEP_FRAMES = exact_div(WINDOW_FRAMES, 4)


def mean_embedding(embeddings: "Sequence[NDArray[np.float32]]") -> "NDArray[np.float32]":
    """(256,) of length 1: the direction in which several embeddings of one voice lie on average."""
    import numpy as np

    mean = np.mean(embeddings, axis=0)
    found: NDArray[np.float32] = mean / np.linalg.norm(mean)
    return found


class SpeakerEncoder:
    """Samples in, a voice's embedding out.

    Wan, Wang, Papir and Lopez Moreno, "Generalized end-to-end loss for speaker verification", ICASSP 2018.
    """

    def __init__(self, directory: Path) -> None:
        import torch

        loaded = load_tensors(directory)
        if loaded.installed.kind != "speaker":
            raise UnavailableError(f"{directory}: a {loaded.installed.kind} model: expected a speaker encoder")
        self.identity = loaded.installed.identity
        tensors = {name: torch.from_numpy(array).float() for name, array in loaded.tensors.items()}
        bands, width = int(loaded.config["bands"]), int(loaded.config["width"])
        self._lstm = torch.nn.LSTM(bands, width, 3, batch_first=True)
        self._linear = torch.nn.Linear(width, width)
        self._lstm.load_state_dict({n.removeprefix("lstm."): t for n, t in tensors.items() if n.startswith("lstm.")})
        self._linear.load_state_dict({n.removeprefix("linear."): t for n, t in tensors.items() if "linear." in n})

    def __call__(self, samples: "NDArray[np.float32]") -> "NDArray[np.float32]":
        """(256,) of length 1 for (n,) samples of one voice, at any level: the mean over windows of 1.6 s."""
        import numpy as np
        import torch

        power = float(np.square(samples, dtype=np.float64).mean()) + 1e-12
        levelled = samples * np.float32(10.0 ** (LEVEL_DBFS / 20.0) / np.sqrt(power))
        with torch.inference_mode():
            frames = mel_power(torch.from_numpy(levelled), BANDS)  # (frames, 40)
            windows = frames.unsqueeze(0)
            if frames.shape[0] > WINDOW_FRAMES:
                windows = frames.unfold(0, WINDOW_FRAMES, STEP_FRAMES).transpose(1, 2)
            _, (hidden, _) = self._lstm(windows)
            embeddings = torch.nn.functional.normalize(self._linear(hidden[-1]).relu(), dim=1)
            found: NDArray[np.float32] = torch.nn.functional.normalize(embeddings.mean(0), dim=0).numpy()
        return found
