"""From files to batches: reading them, running nothing that they ask for, and padding and mixing what they hold."""

from disentangle.data.batches import Batch, RecordingDataset, collate, loader
from disentangle.data.hiding import draw_hidden, hide, noise_like
from disentangle.data.layouts import read_recordings, read_unlabeled
from disentangle.data.layouts.folder import write_folder
from disentangle.data.pandas_and_datasets import recordings_from_datasets, recordings_from_pandas
from disentangle.data.pickles import load_pickle
from disentangle.data.recordings import LazyFrames, Recordings, check_same_features
from disentangle.data.report import DataReport, describe
from disentangle.data.samplers import MixedBatchSampler
from disentangle.data.store import open_store, write_store
from disentangle.data.synthetic import synthetic_recordings
from disentangle.errors import DataError, DataWarning

__all__ = [
    "Batch",
    "DataError",
    "DataReport",
    "DataWarning",
    "LazyFrames",
    "MixedBatchSampler",
    "RecordingDataset",
    "Recordings",
    "check_same_features",
    "collate",
    "describe",
    "draw_hidden",
    "hide",
    "load_pickle",
    "loader",
    "noise_like",
    "open_store",
    "read_recordings",
    "read_unlabeled",
    "recordings_from_datasets",
    "recordings_from_pandas",
    "synthetic_recordings",
    "write_folder",
    "write_store",
]
