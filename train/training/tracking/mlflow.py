"""A run as MLflow keeps it, in `mlruns` beside the runs' folders, or where MLFLOW_TRACKING_URI says."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sadstream.base.errors import UnavailableError
from train.training.records.history import Epoch

PLACE, EXPERIMENT = "mlruns", "sadstream"
FOLDER = "sadstream.folder"  # the tag by which a run is found again
# Nothing is reported to anybody; the plain folder, which needs no database, is asked for by name.
QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "MLFLOW_ALLOW_FILE_STORE": "true"}
LONGEST = 500  # letters of a setting that MLflow takes from some versions


def require() -> Any:
    """The client's class; UnavailableError with the line that installs it."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    try:
        from mlflow.tracking import MlflowClient
    except ImportError:
        raise UnavailableError("mlflow: not installed; in the checkout: pip install '.[mlflow]'") from None
    return MlflowClient


class MlflowTracker:
    """The run with this folder's tag, new or gone on with."""

    def __init__(self, folder: Path, name: str, settings: Mapping[str, str]) -> None:
        folder = folder.resolve()
        where = os.environ.get("MLFLOW_TRACKING_URI") or (folder.parent / PLACE).as_uri()
        self._client = require()(tracking_uri=where)
        experiment = self._experiment()
        found = self._client.search_runs([experiment], f"tags.`{FOLDER}` = '{folder}'", max_results=1)
        run = found[0] if found else self._client.create_run(experiment, run_name=name, tags={FOLDER: str(folder)})
        self._run = run.info.run_id
        self._found = dict(run.data.metrics)
        self._logged = max((one.step for one in self._client.get_metric_history(self._run, "train_loss")), default=0)
        if found:
            self._client.update_run(self._run, status="RUNNING")
        for key, value in settings.items():
            if key not in run.data.params:
                self._client.log_param(self._run, key, value[:LONGEST])

    def _experiment(self) -> str:
        found = self._client.get_experiment_by_name(EXPERIMENT)
        return str(found.experiment_id if found else self._client.create_experiment(EXPERIMENT))

    def logged(self) -> int:
        """The last step of the training loss."""
        return int(self._logged)

    def has(self, name: str) -> bool:
        """Whether the run has this metric."""
        return _plain(name) in self._found

    def epoch(self, epoch: Epoch) -> None:
        """Three metrics at this step, and one of what is learned beside sad."""
        names = ("validation_target", "validation_loss", "validation_macro_f1", "train_loss")  # the last: it is whole
        for name in names:
            if (value := getattr(epoch, name)) is not None:
                self._client.log_metric(self._run, name, value, step=epoch.epoch)

    def figures(self, values: Mapping[str, float], epoch: int) -> None:
        """A metric each."""
        for name, value in values.items():
            self._client.log_metric(self._run, _plain(name), value, step=epoch)

    def close(self) -> None:
        """It is said to be finished; going on with it takes that back."""
        self._client.set_terminated(self._run, status="FINISHED")


def _plain(name: str) -> str:
    return name.replace(" ", "_")
