"""Speech without the mains' hum: 50 or 60 Hz and their multiples, only while it is there. Pure."""

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sadstream.base.samples import FRAME_BYTES, FRAME_SAMPLES, SAMPLE_RATE, AudioFrame

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BASES_HZ = (50.0, 60.0)
HARMONICS = 12
LEADING = 3  # harmonics that may show that there is hum: many rectifiers have little of the first
OFF_HZ = (-0.3, -0.2, -0.1, 0.0, 0.1, 0.2, 0.3)  # mains stay within 0.2 Hz
STEADY = 20  # frames, 0.6 s: no voice holds a tone to a tenth of a hertz for so long
LOOKS = 5  # frames between two looks for hum, or at it
WINDOW = 100  # frames, 3 s: the longest segment, and so a pause or two
LEAST = 32768.0 * 10.0 ** (-60.0 / 20.0) * 2.0**0.5  # peak of a tone at -60 dBFS
ALIKE = 0.35  # of a tone's amplitude: further off it is another tone
GONE = 3  # frames without it
COHERENT = 0.7  # of unit phasors: nine in ten within ALIKE of the middle, the tenth opposed, come to 0.74
PERIOD_S = FRAME_SAMPLES / SAMPLE_RATE
SILENCE = bytes(FRAME_BYTES)


@dataclass(frozen=True, slots=True, eq=False)
class Tone:
    """A hum as it is at the beginning of a frame."""

    base: int  # of BASES_HZ
    off_hz: float  # from it
    phasors: "NDArray[np.complex128]"  # (HARMONICS,) peak amplitude in steps of 16 bits, and phase
    heard: "NDArray[np.complex128]"  # the same, where it is certain


class Hum:
    """Frames in, the same frames without a steady mains tone out; untouched, byte for byte, where there is none.

    Amplitude and phase are learnt from the last 3 s, from a frame the less the more else is in it: what is subtracted
    stands still while somebody speaks, and does not ring as a notch does. It begins 0.6 s after the hum.
    """

    __slots__ = ("_before", "_count", "_gone", "_rows", "_tone")

    def __init__(self) -> None:
        self._forget()

    def _forget(self) -> None:
        self._before: NDArray[np.float64] | None = None
        self._rows: NDArray[np.complex128] | None = None  # (WINDOW, bases, harmonics), the newest last
        self._count = 0  # frames since nothing was known
        self._gone = 0
        self._tone: Tone | None = None

    def feed(self, frame: AudioFrame) -> AudioFrame:
        """The frame without hum, rounded and clipped to 16 bits; after a gap as at the beginning."""
        import numpy as np

        silent = frame.pcm == SILENCE
        if frame.gap or silent:
            self._forget()
        if silent:
            return frame
        x = np.frombuffer(frame.pcm, dtype="<i2").astype(np.float64)
        before = self._tone and _later(self._tone)
        self._hear(x)
        if before is None and self._tone is None:
            return frame
        hum = _sound(self._tone, self._count)
        if before is None or self._tone is None or not np.array_equal(before.heard, self._tone.heard):
            falling = np.arange(FRAME_SAMPLES, 0, -1) / FRAME_SAMPLES  # a change makes no click
            hum = _sound(before, self._count) * falling + hum * (1.0 - falling)
        pcm = (x - hum).round().clip(-32768, 32767).astype("<i2").tobytes()
        return AudioFrame(pcm, frame.index, frame.arrived_s, frame.gap)

    def _hear(self, x: "NDArray[np.float64]") -> None:
        import numpy as np

        before, self._before = self._before, x
        if before is None or self._rows is None:
            self._rows = np.zeros((WINDOW, len(BASES_HZ), HARMONICS), np.complex128)
            return
        self._count += 1
        parts = (_analysis() @ np.concatenate([before, x])).reshape(len(BASES_HZ), 2, HARMONICS)
        self._rows[:-1] = self._rows[1:]
        self._rows[-1] = (parts[:, 0] + 1j * parts[:, 1]) * _turn(self._count % 10).conj()
        if self._tone is not None:
            tone = _later(self._tone)
            heard = self._rows[-min(self._count, WINDOW) :, tone.base]
            lead = int(np.abs(tone.phasors).argmax())
            now, was = heard[-1, lead], tone.phasors[lead]
            self._gone = self._gone + 1 if abs(now) < abs(was) / 2 < abs(now - was) else 0
            learns = self._count % LOOKS == 0  # what stands still need not be learnt at each frame
            self._tone = None if self._gone >= GONE else _learnt(tone, heard) if learns else tone
        if self._count >= STEADY and self._count % LOOKS == 0:
            self._look()

    def _look(self) -> None:
        assert self._rows is not None
        found = _steady(self._rows[-STEADY:])
        if found is None:
            return
        lead, tone = found
        if self._tone is not None and self._tone.base == tone.base:
            was, now = self._tone.phasors[lead], tone.phasors[lead]
            if abs(was - now) < ALIKE * abs(now):
                return
        self._gone, self._tone = 0, _learnt(tone, self._rows[-STEADY:, tone.base])
        self._rows[:-STEADY] = 0.0  # what was heard before the tone began says nothing of it


def _later(tone: Tone) -> Tone:
    """The same tone at the beginning of the next frame."""
    turn = _drift(tone.off_hz, 1)
    return Tone(tone.base, tone.off_hz, tone.phasors * turn, tone.heard * turn)


def _drift(off_hz: float, frames: Any) -> Any:
    import numpy as np

    k = np.arange(1, HARMONICS + 1)
    return np.exp(2j * np.pi * off_hz * PERIOD_S * np.multiply.outer(frames, k))


@lru_cache(maxsize=10)
def _turn(count: int) -> "NDArray[np.complex128]":
    """(bases, harmonics): where the exact bases stand at the beginning of a frame; after ten frames as at first."""
    import numpy as np

    cycles = np.multiply.outer(np.array(BASES_HZ) * PERIOD_S, np.arange(1, HARMONICS + 1))
    turn: NDArray[np.complex128] = np.exp(2j * np.pi * np.fmod(np.round(cycles * 10) * count / 10, 1.0))
    return turn


def _sound(tone: Tone | None, count: int) -> Any:
    """(FRAME_SAMPLES,) of the tone, 0 without one."""
    import numpy as np

    if tone is None:
        return 0.0
    hz = (BASES_HZ[tone.base] + tone.off_hz) * np.arange(1, HARMONICS + 1)
    step = np.exp(2j * np.pi * hz / SAMPLE_RATE)
    fine = step[:, None] ** np.arange(20)  # 24 coarse times 20 fine steps: 44 powers and not 480
    coarse = (step**20)[:, None] ** np.arange(FRAME_SAMPLES // 20) * (tone.heard * _turn(count % 10)[tone.base])[
        :, None
    ]
    return (coarse.T @ fine).real.ravel()


def _steady(rows: "NDArray[np.complex128]") -> tuple[int, Tone] | None:
    """The strongest of the leading harmonics that stood still over these frames, and the tone that it belongs to."""
    import numpy as np

    ago = np.arange(1 - rows.shape[0], 1)
    best: tuple[int, Tone] | None = None
    most = LEAST
    for base, hopeful in enumerate(_coherent(rows)):
        if not hopeful.any() or np.median(np.abs(rows[:, base, :LEADING]), axis=0).max() < LEAST:
            continue
        for off_hz in np.array(OFF_HZ)[hopeful].tolist():
            still = rows[:, base] * _drift(off_hz, -ago)
            middle = np.median(still.real, axis=0) + 1j * np.median(still.imag, axis=0)
            size = np.abs(middle)
            alike = (np.abs(still - middle) < ALIKE * size).mean(axis=0)[:LEADING]
            for k in np.flatnonzero(alike >= 0.9):
                spread = size[k] * (2.0 - np.abs(still[:, k] - middle[k]).mean() / size[k])
                if size[k] > LEAST and spread > most:
                    most, best = spread, (int(k), Tone(base, off_hz, middle, middle))
    return best


def _coherent(rows: "NDArray[np.complex128]") -> "NDArray[np.bool_]":
    """(bases, frequencies) in which a leading harmonic keeps its phase: what looks closer costs 30 times as much."""
    import numpy as np

    leading = rows[:, :, :LEADING]
    unit = leading / (np.abs(leading) + 1e-9)
    sums = np.abs(np.einsum("tbk,otk->bok", unit, _stills()))
    coherent: NDArray[np.bool_] = (sums >= COHERENT * STEADY).any(axis=2)
    return coherent


@lru_cache(maxsize=1)
def _stills() -> "NDArray[np.complex128]":
    """(frequencies, STEADY, LEADING): what brings a tone of each to a standstill."""
    import numpy as np

    ago = np.arange(1 - STEADY, 1)
    return np.array([_drift(off_hz, -ago)[:, :LEADING] for off_hz in OFF_HZ])


def _learnt(tone: Tone, rows: "NDArray[np.complex128]") -> Tone:
    """The tone after these frames, the newest last: each says the less the further it is from the tone."""
    import numpy as np

    rows = rows[np.abs(rows).any(axis=1)]
    ago = np.arange(1 - rows.shape[0], 1)
    still = rows * _drift(tone.off_hz, -ago)
    phasors, k = tone.phasors, np.arange(1, HARMONICS + 1)
    for _ in range(2):
        far = np.abs(still - phasors) ** 2
        usual = np.partition(far, far.shape[0] // 4, axis=0)[far.shape[0] // 4] + 1e-6
        weights = 1.0 / (far + usual) ** 2
        total = weights.sum(axis=0)
        phasors = (weights * still).sum(axis=0) / total
    doubt = ((weights**2 * far).sum(axis=0) / total**2) / (np.abs(phasors) ** 2 + 1e-9)
    sure = np.clip(1.0 - 4.0 * doubt, 0.0, 1.0)
    centred = ago[:, None] - (weights * ago[:, None]).sum(axis=0) / total
    lean = 2.0 * np.pi * PERIOD_S * k * centred * weights * usual
    slope = (lean * (still * phasors.conj()).imag).sum()
    stiff = (lean * 2.0 * np.pi * PERIOD_S * k * centred * np.abs(phasors) ** 2).sum()
    change = float(slope / stiff) if rows.shape[0] >= STEADY and stiff > 0 else 0.0
    off_hz = float(np.clip(tone.off_hz + 0.5 * change, OFF_HZ[0], OFF_HZ[-1]))
    return Tone(tone.base, off_hz, phasors, phasors * sure)


@lru_cache(maxsize=1)
def _analysis() -> "NDArray[np.float64]":
    """(bases * 2 * harmonics, 960): what two frames hold of each harmonic, by least squares under a Hann window."""
    import numpy as np

    n = np.arange(-FRAME_SAMPLES, FRAME_SAMPLES)
    window = np.hanning(2 * FRAME_SAMPLES + 1)[:-1]
    found = []
    for base in BASES_HZ:
        angles = 2.0 * np.pi * base / SAMPLE_RATE * np.multiply.outer(n, np.arange(1, HARMONICS + 1))
        waves = np.concatenate([np.cos(angles), -np.sin(angles)], axis=1)
        found.append(np.linalg.solve((waves * window[:, None]).T @ waves, (waves * window[:, None]).T))
    return np.concatenate(found)
