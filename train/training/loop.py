"""Training of one model: Adam, early stopping on the validation loss, weights kept at every epoch, resumable."""

import io
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save
from sklearn.metrics import f1_score
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from sadstream.base.errors import DataError
from sadstream.base.files import save_atomic
from sadstream.scoring.fusion.network import Fusion
from train.corpora.guards import check_drawn
from train.features.inputs import Inputs, batch_of, resident
from train.metrics.targets import main_figure
from train.presets import RunConfig
from train.training.beside import BesideLoss, raw_targets
from train.training.records.history import Epoch, EpochTimes, History

STATE = "state.pt"
TEXT = ("text_out.weight", "gated.words.weight", "crossed.words_in.weight")  # whose second side is the text's width
VOICE = "query.weight"
# What torch.load and what follows it raise over an empty, cut, foreign or changed file.
DAMAGED = (RuntimeError, LookupError, ValueError, OSError, EOFError, TypeError, AttributeError, UnpicklingError)
EVALUATE_BATCH = 256
# A batch is computed in parts of this many: the maps of 64 spectrograms are 98 MB a layer and leave every cache.
PART = 16


@dataclass(frozen=True, slots=True)
class ComputeTarget:
    """Where and how it is computed; `amp` is bfloat16 where it pays, on a GPU."""

    device: str = "cpu"
    amp: bool = False
    compiled: bool = False


class EpochWeights:
    """The weights of each epoch in a run's folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "epochs"

    def path(self, epoch: int) -> Path:
        """The file of an epoch, counted from 1."""
        return self.folder / f"{epoch:04d}.safetensors"

    def save(self, epoch: int, fusion: Fusion) -> None:
        """Keep the weights as they are now, float32."""
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in fusion.state_dict().items()}
        save_atomic(self.path(epoch), save(tensors))

    def load(self, epoch: int, fusion: Fusion) -> None:
        """Put the weights of an epoch into the model."""
        try:
            fusion.load_state_dict(load(self.path(epoch).read_bytes()))
        except (OSError, SafetensorError, RuntimeError) as error:
            raise self._unreadable(epoch, error) from None

    def _unreadable(self, epoch: int, error: Exception) -> DataError:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        where = self.folder.parent
        return DataError(f"{self.path(epoch)}: cannot be read ({reason}); delete the folder {where} and fit again")

    def text_dim(self, epoch: int) -> int:
        """The width of the text embedding that these weights read; 0: none."""
        return self._width(epoch, TEXT)

    def speaker_dim(self, epoch: int) -> int:
        """The width of the voice's embedding that attention asks; 0: it asks nobody's."""
        return self._width(epoch, (VOICE,))

    def _width(self, epoch: int, names: Sequence[str]) -> int:
        try:
            with safe_open(self.path(epoch), "numpy") as file:
                found = [name for name in names if name in file.keys()]  # noqa: SIM118
                return int(file.get_slice(found[0]).get_shape()[1]) if found else 0
        except (OSError, SafetensorError) as error:
            raise self._unreadable(epoch, error) from None

    def keep(self, epochs: Sequence[int]) -> None:
        """Delete the weights of all epochs but these."""
        wanted = {self.path(epoch) for epoch in epochs}
        for path in sorted(self.folder.glob("*.safetensors")):
            if path not in wanted:
                path.unlink()


def drawn_rows(labels: NDArray[np.float32], train: NDArray[np.int64], oversample: bool, seed: int) -> NDArray[np.int64]:
    """The pieces of an epoch: all of train, and sad ones drawn again until both classes are equally many."""
    if not oversample:
        return train
    sad, other = train[labels[train] == 1], train[labels[train] == 0]
    missing = max(0, other.size - sad.size)
    again = np.random.default_rng([seed, 1]).choice(sad, missing, replace=True)
    return np.concatenate([train, again])


Array = NDArray[np.int64]


def loss_of(logits: Tensor, labels: Tensor, kind: str, gamma: float, sad_weight: float = 1.0) -> Tensor:
    """Mean binary cross-entropy, or focal loss: (1 - p of the true class)^gamma times it, without alpha.

    sad_weight: what a sad one counts, where another counts 1.

    Lin, Goyal, Girshick, He and Dollar, "Focal loss for dense object detection", ICCV 2017.
    """
    entropy = binary_cross_entropy_with_logits(logits, labels, reduction="none")
    weights = 1.0 + (sad_weight - 1.0) * labels
    if kind == "bce":
        return (weights * entropy).mean()
    return (weights * (1.0 - torch.exp(-entropy)) ** gamma * entropy).mean()


class PieceOutputs(NamedTuple):
    """(pieces, 3) bias, audio and text parts of the logit, and (pieces, beside) what is said beside sad."""

    parts: Tensor
    beside: Tensor


def predict(fusion: Fusion, inputs: Inputs, index: Tensor, device: str) -> PieceOutputs:
    """What the model gives for these pieces, float32 on the CPU."""
    fusion.eval()
    parts, beside = [], []
    with torch.inference_mode():
        for chosen in torch.split(index, EVALUATE_BATCH if device != "cpu" else PART):
            batch = batch_of(inputs, chosen, device)
            found = fusion.parts(batch.audio, batch.text, batch.heard, batch.voices)
            parts.append(torch.stack([found.bias, found.audio, found.text], dim=1).float().cpu())
            said = found.beside if found.beside is not None else found.bias.new_zeros(chosen.numel(), 0)
            beside.append(said.float().cpu())
    return PieceOutputs(torch.cat(parts), torch.cat(beside))


def row_means(inputs: Inputs, index: Tensor, outputs: Tensor) -> NDArray[np.float64]:
    """(rows of these pieces, outputs) the means over the pieces of each row."""
    _, position = np.unique(inputs.owner[index].numpy(), return_inverse=True)
    sums = np.zeros((int(position.max()) + 1, outputs.shape[1]))
    np.add.at(sums, position, outputs.double().numpy())
    means: NDArray[np.float64] = sums / np.bincount(position)[:, None]
    return means


def seeded(seed: int, device: str) -> None:
    """The same seed on the same machine gives the same bytes."""
    # CUDA's pooling says that it may add in any order; windows that do not overlap leave it nothing to add.
    torch.use_deterministic_algorithms(True, warn_only=device == "cuda")
    torch.manual_seed(seed)
    if device == "cuda":
        torch.backends.cudnn.benchmark = False


class Validation(NamedTuple):
    """Loss, macro F1 of sad at 0.5, and the figure of what is learned beside it, or None."""

    loss: float
    macro_f1: float
    target: float | None


class Trainer:
    """One model and its optimiser."""

    def __init__(self, inputs: Inputs, config: RunConfig, compute: ComputeTarget) -> None:

        seeded(config.seed, compute.device)
        self.inputs, self.config, self.compute = resident(inputs, compute.device), config, compute
        self.fusion = Fusion(inputs.fusion).to(compute.device)
        self.optimiser = torch.optim.Adam(self.fusion.parameters(), lr=config.spec.learning_rate)
        self._parts: Any = torch.compile(self.fusion.parts) if compute.compiled else self.fusion.parts
        labels, train = inputs.labels.numpy(), inputs.pieces_of("train").numpy()
        self.drawn = drawn_rows(labels, train, config.training.oversample, config.seed)
        sad = float(labels[train].sum())
        self.sad_weight = (train.size - sad) / sad if config.training.class_weights and sad else 1.0
        self.beside = BesideLoss(inputs, self.drawn, compute.device) if inputs.fusion.beside else None
        check_drawn(inputs.rows, inputs.owner[torch.from_numpy(self.drawn)].tolist())
        self.validation = inputs.pieces_of("validation")

    def state(self, history: History, timing: EpochTimes) -> bytes:
        """Weights, optimiser and history in one file, so that training goes on as if it had not stopped."""
        file = io.BytesIO()
        saved = {"fusion": self.fusion.state_dict(), "optimiser": self.optimiser.state_dict()}
        torch.save({**saved, "history": history.model_dump_json(), "timing": timing.model_dump_json()}, file)
        return file.getvalue()

    def restore(self, content: bytes, where: str) -> tuple[History, EpochTimes]:
        """Go back to a saved state; returns its history and how long it took."""
        try:
            # On the CPU: weights and moments go to where the parameters are, Adam's counts of steps stay where it wants
            # them, or each step would wait for the GPU to read one.
            saved = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
            self.fusion.load_state_dict(saved["fusion"])
            self.optimiser.load_state_dict(saved["optimiser"])
            history = History.model_validate_json(saved["history"])
            return history, EpochTimes.model_validate_json(saved.get("timing", saved["history"]))
        except DAMAGED as error:
            reason = (str(error) or type(error).__name__).splitlines()[0][:80]
            raise DataError(f"{where}: damaged ({reason}); delete it and fit again: training starts anew") from None

    def train_epoch(self, epoch: int, advance: Callable[[], None] = lambda: None, steps: int | None = None) -> float:
        """Mean training loss of an epoch (of its first `steps` batches); the order depends on seed and epoch alone."""
        torch.manual_seed(self.config.seed * 100_003 + epoch)
        order = np.random.default_rng([self.config.seed, 2, epoch]).permutation(self.drawn)
        batches = torch.split(torch.from_numpy(order), self.config.spec.batch_size)[:steps]
        self.fusion.train()
        total = 0.0
        for index in batches:
            total += self.step(index) * index.numel()
            advance()
        return total / sum(index.numel() for index in batches)

    def step(self, index: Tensor) -> float:
        """One update from these pieces; returns their mean loss."""
        self.optimiser.zero_grad(set_to_none=True)
        part = PART if self.compute.device == "cpu" and self.inputs.audio is not None else index.numel()
        total = 0.0
        for chosen in torch.split(index, part):
            loss = self._loss(chosen) * (chosen.numel() / index.numel())
            loss.backward()  # type: ignore[no-untyped-call,unused-ignore]
            total += float(loss.detach())
        self.optimiser.step()
        return total

    def _loss(self, index: Tensor) -> Tensor:

        batch = batch_of(self.inputs, index, self.compute.device)
        with torch.autocast(self.compute.device, torch.bfloat16, enabled=self.compute.amp):
            parts = self._parts(batch.audio, batch.text, batch.heard, batch.voices)
            logits = parts.logit
        training = self.config.training
        loss = loss_of(logits.float(), batch.labels, self.config.spec.loss, training.gamma, self.sad_weight)
        if self.beside is None:
            return loss
        return loss + self.beside(parts.beside.float(), batch.emotions, batch.ratings)

    def validate(self) -> Validation:
        """How the model does on the validation pieces."""
        found = predict(self.fusion, self.inputs, self.validation, self.compute.device)
        logits, labels = found.parts.sum(1), self.inputs.labels[self.validation]
        loss = float(loss_of(logits, labels, self.config.spec.loss, self.config.training.gamma))
        macro = f1_score(labels.numpy() == 1, logits.numpy() >= 0, average="macro", zero_division=0)
        if self.beside is None:
            return Validation(loss, float(macro), None)
        emotions, ratings = self.inputs.emotions[self.validation], self.inputs.ratings[self.validation]
        device = self.compute.device
        loss += float(self.beside(found.beside.to(device), emotions.to(device), ratings.to(device)))
        rows = np.unique(self.inputs.owner[self.validation].numpy())
        means = row_means(self.inputs, self.validation, found.beside)
        return Validation(loss, float(macro), main_figure(raw_targets(self.inputs, self.config, rows, means)))


def fit(
    trainer: Trainer,
    folder: Path,
    advance: Callable[[], None] = lambda: None,
    told: Callable[[History], None] = lambda history: None,
) -> tuple[History, EpochTimes]:
    """Train until the epochs or the patience are used up; what stands in the folder is gone on with.

    told: is given the history after each epoch, and first the one that is gone on with.
    """
    weights, state = EpochWeights(folder), folder / STATE
    history, timing = History(), EpochTimes()
    if state.is_file():
        history, timing = trainer.restore(state.read_bytes(), str(state))
        told(history)
    training = trainer.config.training
    while not history.finished(training.epochs, training.patience):
        epoch, start = len(history.epochs) + 1, time.monotonic()
        loss = trainer.train_epoch(epoch, advance)
        found = trainer.validate()
        timing = timing.with_epoch(time.monotonic() - start)
        weights.save(epoch, trainer.fusion)
        history = history.with_epoch(
            Epoch(
                epoch=epoch,
                train_loss=loss,
                validation_loss=found.loss,
                validation_macro_f1=found.macro_f1,
                validation_target=found.target,
                utterances=int(trainer.drawn.size),
            )
        )
        save_atomic(state, trainer.state(history, timing))
        told(history)
    return history, timing
