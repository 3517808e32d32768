"""The fusion model: an audio context and a text embedding, one linear layer, one logit.

One class holds the thesis's six systems, the seventh, which reads Whisper's encoder states, and four in which words,
voice and segments attend to each other. Where the last layer reads context and embedding side by side, every logit is
a sum of an audio part, a text part and a bias; where not (`FusionConfig.is_additive`), the audio part is all of it.
"""

from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from sadstream.scoring.fusion.header import FusionConfig
from sadstream.scoring.fusion.joint import CrossModal, GatedUnit, SegmentAttention

LEAST_VARIANCE = 1e-6  # of a state over time: one frame has none


class Attended(NamedTuple):
    """Where a model looked; None for what it has not.

    frames: (batch, frames) or, of several segments, (batch, segments, frames); segments: (batch, segments); words:
    (batch, tokens, frames), where each word listens; sound: (batch,) the share of the sound in a gate.
    """

    frames: Tensor | None = None
    segments: Tensor | None = None
    words: Tensor | None = None
    sound: Tensor | None = None


class Parts(NamedTuple):
    """Logit parts before calibration, (batch,) each; of a model that is no sum all of it is in `audio`.

    beside: (batch, emotions + dimensions) raw outputs of the heads beside sad, or None.
    """

    bias: Tensor
    audio: Tensor
    text: Tensor
    attended: Attended
    beside: Tensor | None = None

    @property
    def logit(self) -> Tensor:
        """(batch,) their sum."""
        return self.bias + self.audio + self.text

    @property
    def attention(self) -> Tensor | None:
        """(batch, frames) weights over the frames of a segment, or None."""
        return self.attended.frames


class _Context(NamedTuple):
    """(batch, width) what was pooled, and of what: (batch, frames, width) and which frames hold audio, or None."""

    pooled: Tensor
    attended: Attended
    sequence: Tensor | None = None
    mask: Tensor | None = None


class _Read(NamedTuple):
    """(batch, width) of sound and of words that the last layers read, None without, and where it was looked."""

    sound: Tensor | None
    words: Tensor | None
    attended: Attended


class LogMelCnn(nn.Module):
    """(batch, frames, bands) log-Mel -> (batch, frames // 4, channels * bands // 4)."""

    def __init__(self, channels: tuple[int, int]) -> None:
        super().__init__()
        first, second = channels
        self.layers = nn.Sequential(
            nn.Conv2d(1, first, kernel_size=3, padding=1),
            nn.MaxPool2d(2),
            nn.ReLU(),  # after the pooling it is the same function on a quarter of the numbers
            nn.Conv2d(first, second, kernel_size=3, padding=1),
            nn.MaxPool2d(2),
            nn.ReLU(),
        )
        # On a CPU the pooling is three times as quick with the channels last.
        self.layers.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, mel: Tensor) -> Tensor:
        image = mel.unsqueeze(1).contiguous(memory_format=torch.channels_last)
        maps: Tensor = self.layers(image)  # (batch, channels, frames // 4, bands // 4)
        return maps.transpose(1, 2).flatten(2)


class StateMix(nn.Module):
    """(batch, layers, frames, width) encoder states -> (batch, frames, width), a learned mean over the layers."""

    def __init__(self, n_layers: int, width: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(n_layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, states: Tensor) -> Tensor:
        mixed = torch.einsum("l,blfw->bfw", self.weights.softmax(0), states)
        normalised: Tensor = self.norm(mixed)
        return normalised


class Statistics(nn.Module):
    """(batch, layers, frames, width) states -> (batch, 2 * layers * width): mean and deviation over time, normalised.

    The weights of a mean and a scale that were measured, not learnt. Statistics pooling after Snyder et al.,
    "X-vectors: robust DNN embeddings for speaker recognition", ICASSP 2018.
    """

    def __init__(self, n_layers: int, width: int) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(2 * n_layers * width), requires_grad=False)
        self.scale = nn.Parameter(torch.ones(2 * n_layers * width), requires_grad=False)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        return (over_time(states, mask) - self.mean) * self.scale


class Beside(nn.Module):
    """What the last layer of sad reads in, `outputs` linear ones out: as for sad, sound and words side by side."""

    def __init__(self, sound: int, words: int, outputs: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(outputs))
        if sound:
            self.sound = nn.Linear(sound, outputs, bias=False)
        if words:
            self.words = nn.Linear(words, outputs, bias=False)

    def forward(self, sound: Tensor | None, words: Tensor | None) -> Tensor:
        total = self.bias
        if sound is not None:
            total = total + self.sound(sound)
        if words is not None:
            total = total + self.words(words)
        like = sound if sound is not None else words
        assert like is not None
        return total.expand(like.shape[0], -1)


def over_time(states: Tensor, mask: Tensor) -> Tensor:
    """(batch, 2 * layers * width) mean, then deviation, of (batch, layers, frames, width) states under a mask."""
    weights = (mask / mask.sum(1, keepdim=True))[:, None, :, None]
    mean = (states * weights).sum(2)
    square = ((states - mean.unsqueeze(2)) ** 2 * weights).sum(2)
    return torch.cat([mean.flatten(1), square.clamp(min=LEAST_VARIANCE).sqrt().flatten(1)], 1)


class Fusion(nn.Module):
    """Audio features and a text embedding in, one logit out.

    Attention as the thesis writes it, after Bahdanau, Cho and Bengio, "Neural machine translation by jointly learning
    to align and translate", ICLR 2015.
    """

    def __init__(self, config: FusionConfig) -> None:
        super().__init__()
        self.config = config
        frames, width = config.n_frames, config.n_bands
        if config.front_end == "cnn":
            self.cnn = LogMelCnn(config.channels)
            frames, width = frames // 4, config.channels[1] * (width // 4)
        elif config.front_end == "states":
            self.mix = StateMix(config.n_layers, width)
        if config.front_end != "none" and config.sequence == "bilstm":
            self.lstm = nn.LSTM(width, config.hidden, batch_first=True, bidirectional=True)
            width = 2 * config.hidden
        if config.front_end != "none" and config.pooling.endswith("attention"):
            self.attention = nn.Linear(width, 1, bias=False)  # alpha_t = softmax over t of w^T h_t
        asks = {"cross-attention": config.text_dim, "speaker-attention": config.speaker_dim}.get(config.pooling)
        if asks:
            self.query = nn.Linear(asks, width, bias=False)  # of (w + Q x)^T h_t: x says where to look
            nn.init.zeros_(self.query.weight)
        self.dropout = nn.Dropout(config.dropout)
        self.context_dim = width * frames if config.pooling == "flatten" else width
        if config.statistics:
            self.statistics = Statistics(config.n_layers, config.n_bands)
            self.context_dim += 2 * config.n_layers * config.n_bands
        if config.segments > 1:
            self.over_segments = SegmentAttention(self.context_dim)
        if config.joint == "cross-modal":
            self.crossed = CrossModal(width, config.text_dim)
            self.words_out = nn.Linear(width, 1, bias=False)
        elif config.joint == "gate":
            self.gated = GatedUnit(self.context_dim, config.text_dim, width, config.modality_dropout)
            self.context_dim = width
        # One linear layer over [context; text], kept as its two blocks so that the parts can be told apart.
        self.bias = nn.Parameter(torch.zeros(1))
        if config.front_end != "none":
            self.audio_out = nn.Linear(self.context_dim, 1, bias=False)
        if config.text_dim and config.joint == "sum":
            self.text_out = nn.Linear(config.text_dim, 1, bias=False)
        if config.beside:
            words = {"sum": config.text_dim, "cross-modal": width, "gate": 0}[config.joint]
            sound = 0 if config.front_end == "none" else self.context_dim
            self.beside = Beside(sound, words, config.beside)

    def forward(
        self, audio: Tensor | None, text: Tensor | None, heard: Tensor | None = None, speaker: Tensor | None = None
    ) -> Tensor:
        """(batch,) logits; see `parts`."""
        return self.parts(audio, text, heard, speaker).logit

    def parts(
        self, audio: Tensor | None, text: Tensor | None, heard: Tensor | None = None, speaker: Tensor | None = None
    ) -> Parts:
        """The logit's parts.

        audio: (batch, frames, bands) log-Mel or (batch, layers, frames, width) states, of an utterance in several
        segments (batch, segments, ...); text: (batch, text_dim), or (batch, tokens, text_dim) with zeros after the
        last, None for "no words", whose part is 0; heard: (batch,) frames that hold audio, None: all of them, or
        (batch, segments), 0 for a segment that is not there; speaker: (batch, speaker_dim) of the voice, or None.
        """
        if self.config.front_end == "none":
            assert text is not None, "this system reads words"
            return self._outputs(_Read(None, text, Attended()))
        assert audio is not None, "this system hears audio"
        context = self._whole(audio, heard, speaker if self.config.speaker_dim else text)
        return self._outputs(self._joined(context, text))

    def _joined(self, context: _Context, text: Tensor | None) -> _Read:
        """Sound and words as the system joins them."""
        if self.config.joint == "cross-modal":
            return self._crossed(context, text)
        if self.config.joint == "gate":
            pooled, share = self.gated(context.pooled, text)
            return _Read(pooled, None, context.attended._replace(sound=share))
        return _Read(context.pooled, text if self.config.text_dim else None, context.attended)

    def _outputs(self, read: _Read) -> Parts:
        words = None if read.words is None else self.dropout(read.words)
        sound = None if read.sound is None else self.dropout(read.sound)
        like = sound if sound is not None else words
        assert like is not None
        audio = text = torch.zeros(like.shape[0], device=like.device)
        if sound is not None:
            audio = self.audio_out(sound).squeeze(1)
        if words is not None and self.config.joint == "cross-modal":
            audio = audio + self.words_out(words).squeeze(1)
        elif words is not None:
            text = self.text_out(words).squeeze(1)
        beside = self.beside(sound, words) if self.config.beside else None
        return Parts(self.bias.expand(like.shape[0]), audio, text, read.attended, beside)

    def _whole(self, audio: Tensor, heard: Tensor | None, asks: Tensor | None) -> _Context:
        """The context of a segment, or of an utterance in several."""
        if self.config.segments == 1 or audio.dim() == (4 if self.config.front_end == "states" else 3):
            return self._context(audio, heard, asks)
        batch, segments = audio.shape[:2]
        heard = torch.ones(batch, segments, device=audio.device) * audio.shape[-2] if heard is None else heard
        there = heard > 0
        asked = None if asks is None else asks.unsqueeze(1).expand(-1, segments, -1)[there]
        found = self._context(audio[there], heard[there].long(), asked)
        contexts = found.pooled.new_zeros(batch, segments, found.pooled.shape[1])
        contexts[there] = found.pooled
        pooled, weights = self.over_segments(contexts, there)
        frames = found.attended.frames
        if frames is not None:
            spread = frames.new_zeros(batch, segments, frames.shape[1])
            spread[there] = frames
            frames = spread
        return _Context(pooled, Attended(frames=frames, segments=weights))

    def _context(self, audio: Tensor, heard: Tensor | None, asks: Tensor | None = None) -> _Context:
        sequence = self.cnn(audio) if self.config.front_end == "cnn" else self.mix(audio)
        frames = self._frames(sequence, heard)
        if self.config.sequence == "bilstm":
            sequence = self._recurrent(sequence, None if heard is None else frames)
        if self.config.pooling == "flatten":
            return _Context(sequence.flatten(1), Attended())
        mask = (torch.arange(sequence.shape[1], device=sequence.device) < frames.unsqueeze(1)).to(sequence.dtype)
        context, weights = self._pooled(sequence, mask, asks)
        if self.config.statistics:
            context = torch.cat([context, self.statistics(audio, mask)], 1)
        return _Context(context, Attended(weights), sequence, mask)

    def _crossed(self, context: _Context, tokens: Tensor | None) -> _Read:
        """Sound and words that attended to each other; without words what was pooled."""
        sequence, mask = context.sequence, context.mask
        assert sequence is not None
        assert mask is not None
        if tokens is None:
            return _Read(context.pooled, None, context.attended)
        said = (tokens != 0).any(2).to(sequence.dtype)
        crossed = self.crossed(sequence, mask, tokens, said)
        pooled, weights = self._pooled(crossed.sound, mask, None)
        words = (crossed.words * said.unsqueeze(2)).sum(1) / said.sum(1, keepdim=True).clamp(min=1.0)
        return _Read(pooled, words, Attended(frames=weights, words=crossed.listens))

    def _pooled(self, sequence: Tensor, mask: Tensor, asks: Tensor | None) -> tuple[Tensor, Tensor | None]:
        if self.config.pooling == "mean":
            return (sequence * mask.unsqueeze(2)).sum(1) / mask.sum(1, keepdim=True), None
        energies = self.attention(sequence).squeeze(2)
        if self.config.pooling in ("cross-attention", "speaker-attention") and asks is not None:
            energies = energies + torch.einsum("bfw,bw->bf", sequence, self.query(asks))
        weights = energies.masked_fill(mask == 0, float("-inf")).softmax(1)
        return torch.einsum("bf,bfw->bw", weights, sequence), weights

    def _frames(self, sequence: Tensor, heard: Tensor | None) -> Tensor:
        """(batch,) frames that hold audio. The thesis attends to padding too and passes no `heard`."""
        batch, frames, _ = sequence.shape
        if heard is None:
            return torch.full((batch,), frames, device=sequence.device)
        if self.config.front_end == "cnn":  # its two poolings keep a fourth of the frames
            heard = heard // 4
        return heard.clamp(min=1, max=frames)

    def _recurrent(self, sequence: Tensor, frames: Tensor | None) -> Tensor:
        """(batch, frames, 2 * hidden): with `frames` the backward half starts at the last that holds audio."""
        if frames is None:
            states, _ = self.lstm(sequence)
            return cast(Tensor, states)
        packed = pack_padded_sequence(sequence, frames.cpu(), batch_first=True, enforce_sorted=False)
        states, _ = pad_packed_sequence(self.lstm(packed)[0], batch_first=True, total_length=sequence.shape[1])
        return states
