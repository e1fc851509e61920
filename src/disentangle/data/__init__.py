"""From files to batches: reading them, running nothing that they ask for, and padding and mixing what they hold."""

from disentangle.data.batches import Batch, MixedBatchSampler, RecordingDataset, collate, loader
from disentangle.data.fields import trim
from disentangle.data.layouts import read_recordings, read_unlabeled
from disentangle.data.lazy import LazyFrames
from disentangle.data.pickles import DataError, load_pickle
from disentangle.data.recordings import Recordings, check_same_features
from disentangle.data.synthetic import synthetic_recordings

__all__ = [
    "Batch",
    "DataError",
    "LazyFrames",
    "MixedBatchSampler",
    "RecordingDataset",
    "Recordings",
    "check_same_features",
    "collate",
    "load_pickle",
    "loader",
    "read_recordings",
    "read_unlabeled",
    "synthetic_recordings",
    "trim",
]
