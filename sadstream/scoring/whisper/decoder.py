"""Whisper's words without the 27 seconds of silence: a cut encoder pass, a cached silent tail, a cached greedy decoder.

Whisper pads every input to 30 s (1,500 positions). Cutting the pad saves the work and costs the words: the decoder has
never seen speech that is not followed by silence, and repeats itself. Here the encoder sees the segment and two more
seconds, and what it would have made of the silence behind is computed once and joined on: the decoder attends to 1,500
positions as in training, for a sixth of the encoder's work.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from sadstream.base.samples import SEGMENT_SAMPLES, exact_div

if TYPE_CHECKING:
    from torch import Tensor

KeysValues: TypeAlias = "tuple[Tensor, Tensor]"  # of each head; of cross attention the keys are columns

POSITION_SAMPLES = 320  # 20 ms: 10 ms hop, and a convolution with stride 2
SEGMENT_POSITIONS = exact_div(SEGMENT_SAMPLES, POSITION_SAMPLES)  # 150
ENCODED_POSITIONS = 250  # 3 s of segment and 2 s of silence; 200 to 300 measured alike in English, 150 loops
# 41 % of Polish words are wrong with 250, 36 % with 350, 35 % with 500, 36 % with all 1,500 (301 words).
OTHER_LANGUAGES_POSITIONS = 500
FULL_POSITIONS = 1500

# 3 s of fast speech are under 30 tokens; without a cap a loop runs to 224.
MAX_TOKENS = 48
LOOP_RUNS = 3  # the same run of tokens this often is a loop ("no, no, no" is one token and a comma)
LOOP_TOKENS = range(2, 9)

# What encoders made of silence, by their name and positions: 2.5 MB of `base` that its next loading need not compute
# again, which takes 0.4 s.
SILENCES: "dict[tuple[str, int], Tensor]" = {}


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """What greedy decoding came to."""

    tokens: tuple[int, ...]
    no_speech: float  # probability of Whisper's no-speech token
    avg_logprob: float
    looped: bool  # ended because it repeated itself or ran into the cap


class GreedyDecoder:
    """Batched greedy decoding of one Whisper model, with a key-value cache and Whisper's own suppressed tokens."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        import torch

        self._decoder = model.decoder
        self._heads = model.dims.n_text_head
        self._start = list(tokenizer.sot_sequence_including_notimestamps)
        self._sot_at = self._start.index(tokenizer.sot)
        self._no_speech = tokenizer.no_speech
        self._end = tokenizer.eot
        special = (tokenizer.transcribe, tokenizer.translate, tokenizer.sot, tokenizer.sot_prev, tokenizer.sot_lm)
        suppressed = [*tokenizer.non_speech_tokens, *special, tokenizer.no_speech]
        self._suppress = torch.zeros(model.dims.n_vocab, device=model.device)
        self._suppress[suppressed] = float("-inf")
        self._suppress_first = self._suppress.clone()
        self._suppress_first[[*tokenizer.encode(" "), tokenizer.eot]] = float("-inf")  # something is said
        self._vocabulary: Any = None
        self._silence: list[KeysValues] | None = None
        self._rows: dict[int, int] | None = None

    def __call__(self, states: "Tensor", silence: "Tensor | None" = None) -> list[Hypothesis]:
        """A hypothesis for each of (batch, positions, width) encoder states.

        silence: (1, positions, width), the same at every call, what follows behind all of them.
        """
        import torch

        from sadstream.scoring.weights.packed import packed

        if self._vocabulary is None:  # a model that is asked for languages alone never needs it
            self._vocabulary = packed(self._decoder.token_embedding.weight.detach())
        batch = states.shape[0]
        crossed, behind = self._crossed(states), self._behind(silence)
        cache: list[KeysValues | None] = [None] * len(crossed)
        said: list[list[int]] = [[] for _ in range(batch)]
        logprob, ended, looped = [0.0] * batch, [False] * batch, [False] * batch
        no_speech = [0.0] * batch
        tokens = torch.tensor([self._start] * batch, device=states.device)
        offset = 0
        for step in range(MAX_TOKENS):
            hidden = self._step(tokens, offset, crossed, behind, cache)
            offset += tokens.shape[1]
            if step == 0:
                at_sot, logits = self._vocabulary(hidden[:, [self._sot_at, -1]]).float().unbind(1)
                no_speech = at_sot.softmax(1)[:, self._no_speech].tolist()
            else:
                logits = self._vocabulary(hidden[:, -1]).float()
            logits += self._suppress_first if step == 0 else self._suppress
            best = logits.argmax(1)
            chosen = logits.log_softmax(1).gather(1, best.unsqueeze(1)).squeeze(1).tolist()
            for row, token in enumerate(best.tolist()):
                if not ended[row]:
                    logprob[row] += chosen[row]
                    ended[row] = token == self._end
                    if not ended[row]:
                        said[row].append(token)
                        ended[row] = looped[row] = repeats(said[row])
            if all(ended):
                break
            tokens = best.unsqueeze(1)
        return [
            Hypothesis(
                tuple(said[row]), no_speech[row], logprob[row] / (len(said[row]) + 1), looped[row] or not ended[row]
            )
            for row in range(batch)
        ]

    def keep_tokens(self, tokens: list[int]) -> None:
        """From now on `after` is asked of these tokens alone: the other rows of the vocabulary leave memory."""
        import torch

        kept = self._decoder.token_embedding.weight[tokens].clone()
        self._decoder.token_embedding = torch.nn.Embedding.from_pretrained(kept)  # type: ignore[no-untyped-call]
        self._rows = {token: row for row, token in enumerate(tokens)}

    def after(self, token: int, among: list[int], states: "Tensor", silence: "Tensor | None" = None) -> "Tensor":
        """(batch, len(among)) float32 logits of some tokens, should this single one have been said so far."""
        import torch

        token, *among = [token, *among] if self._rows is None else [self._rows[one] for one in (token, *among)]
        said = torch.full((states.shape[0], 1), token, device=states.device)
        cache: list[Any] = [None] * len(self._decoder.blocks)
        hidden = self._step(said, 0, self._crossed(states), self._behind(silence), cache)
        rows = self._decoder.token_embedding.weight[among].to(hidden.dtype)
        logits: Tensor = (hidden[:, 0] @ rows.T).float()
        return logits

    def _crossed(self, states: "Tensor") -> "list[KeysValues]":
        """Keys, as columns, and values of each layer's cross attention, laid out once as each token reads them."""
        parts = (self._split(block.cross_attn, states) for block in self._decoder.blocks)
        return [(key.transpose(2, 3).contiguous(), value.contiguous()) for key, value in parts]

    def _behind(self, silence: "Tensor | None") -> "list[KeysValues] | None":
        """The same of the silence, computed once."""
        if silence is not None and self._silence is None:
            self._silence = self._crossed(silence)
        return None if silence is None else self._silence

    def _step(
        self,
        tokens: "Tensor",
        offset: int,
        crossed: "list[KeysValues]",
        behind: "list[KeysValues] | None",
        cache: "list[KeysValues | None]",
    ) -> "Tensor":
        """(batch, n, width) last hidden states of n new tokens; the cache grows by them."""
        import torch
        from torch.nn.functional import scaled_dot_product_attention as attend

        from sadstream.scoring.weights.packed import one_thread

        with one_thread():
            decoder = self._decoder
            n = tokens.shape[1]
            x = decoder.token_embedding(tokens) + decoder.positional_embedding[offset : offset + n]
            x = x.to(crossed[0][0].dtype)
            for number, block in enumerate(decoder.blocks):
                y = block.attn_ln(x)
                key, value = self._split(block.attn, y)
                if (before := cache[number]) is not None:
                    key, value = torch.cat([before[0], key], 2), torch.cat([before[1], value], 2)
                cache[number] = (key, value)
                x = x + self._join(block.attn, attend(self._query(block.attn, y), key, value, is_causal=n > 1))
                query = self._query(block.cross_attn, block.cross_attn_ln(x))
                x = x + self._join(
                    block.cross_attn, across(query, crossed[number], None if behind is None else behind[number])
                )
                x = x + block.mlp(block.mlp_ln(x))
            hidden: Tensor = decoder.ln(x)
        return hidden

    def _heads_of(self, x: "Tensor") -> "Tensor":
        batch, n, _ = x.shape
        return x.view(batch, n, self._heads, -1).transpose(1, 2)

    def _query(self, attention: Any, x: "Tensor") -> "Tensor":
        return self._heads_of(attention.query(x))

    def _split(self, attention: Any, x: "Tensor") -> "KeysValues":
        """Keys and values, (batch, heads, positions, width of a head) each."""
        return self._heads_of(attention.key(x)), self._heads_of(attention.value(x))

    def _join(self, attention: Any, heads: "Tensor") -> "Tensor":
        joined: Tensor = attention.out(heads.transpose(1, 2).flatten(2))
        return joined


def across(query: "Tensor", heard: "KeysValues", behind: "KeysValues | None") -> "Tensor":
    """(batch, heads, n, width of a head): what a query finds in a segment and in the silence behind it.

    As if their keys and values lay in one row, which would be a copy of 18 MB a segment for `tiny.en`: the silence is
    one for the whole batch, and is read once for all of it.
    """
    import torch

    columns, values = heard
    batch, heads, n, width = query.shape
    query = query * width**-0.5
    near = query @ columns
    if behind is None:
        return near.softmax(3) @ values
    columns_behind, values_behind = (half[0] for half in behind)
    together = query.transpose(0, 1).reshape(heads, batch * n, width)
    far = (together @ columns_behind).view(heads, batch, n, -1).transpose(0, 1)
    weights, heard_positions = torch.cat([near, far], 3).softmax(3), near.shape[3]
    near, far = weights[..., :heard_positions], weights[..., heard_positions:]
    silent = far.transpose(0, 1).reshape(heads, batch * n, -1) @ values_behind
    answer: Tensor = near @ values + silent.view(heads, batch, n, width).transpose(0, 1)
    return answer


class CutEncoder:
    """Encoder states of short segments, and once for all of them, of the silence behind up to 1,500 positions."""

    def __init__(self, model: Any, log_mel: Any, half: bool, name: str, positions: int = ENCODED_POSITIONS) -> None:
        """name: of its weights and of how they compute; what it once made of silence outlives it under that name."""
        self._positions = positions
        self._half = half
        self._encoder = model.encoder
        self._log_mel = log_mel
        self._n_mels = model.dims.n_mels
        self._key = name, positions

    def __call__(self, samples: "Tensor") -> "Tensor":
        """(batch, 250, width) of (batch, 48000) samples; other positions where they were asked for."""
        return self._encode(samples, self._positions)

    def silence(self) -> "Tensor":
        """(1, 1500 - positions, width), what follows."""
        import torch

        if self._key not in SILENCES:
            zeros = torch.zeros(1, SEGMENT_SAMPLES, device=self._encoder.positional_embedding.device)
            SILENCES[self._key] = self._encode(zeros, FULL_POSITIONS)[:, self._positions :].clone()
        return SILENCES[self._key]

    def _encode(self, samples: "Tensor", positions: int) -> "Tensor":
        from torch.nn.functional import pad

        padded = pad(samples, (0, positions * POSITION_SAMPLES - samples.shape[1]))
        mel = log_mels(self._log_mel, padded, self._n_mels)
        x = convolved(self._encoder, mel.half() if self._half else mel)
        for block in self._encoder.blocks:
            x = block(x)
        states: Tensor = self._encoder.ln_post(x)
        return states


def log_mels(log_mel: Any, samples: "Tensor", n_mels: int) -> "Tensor":
    """(batch, n_mels, frames); one at a time, because Whisper's log-Mel is normalised by the maximum of its input."""
    import torch

    return torch.stack([log_mel(one, n_mels) for one in samples])


def convolved(encoder: Any, mel: "Tensor") -> "Tensor":
    """(batch, positions, width) after the two convolutions and the positional embedding."""
    from torch.nn.functional import gelu

    x = gelu(encoder.conv2(gelu(encoder.conv1(mel)))).permute(0, 2, 1)
    embedded: Tensor = (x + encoder.positional_embedding[: x.shape[1]]).to(x.dtype)
    return embedded


def repeats(tokens: list[int]) -> bool:
    """The tokens end in the same run three times over."""
    return any(
        len(tokens) >= LOOP_RUNS * size
        and all(tokens[-size:] == tokens[-(run + 1) * size : -run * size] for run in range(1, LOOP_RUNS))
        for size in LOOP_TOKENS
    )
