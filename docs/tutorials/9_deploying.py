"""
Deploying a model
=================

From a run to what answers requests: opened where its class is at hand, or exported to a file that needs neither the
class nor torch. What that saves, and what 8 bits cost.
"""

import json
import tempfile
import time
from contextlib import chdir
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import onnxruntime
import torch
from torch import nn

from disentangle import Masked, Model
from disentangle.data import collate, synthetic_recordings
from disentangle.experiments import (
    Experiment,
    export_onnx,
    open_trained,
    run_program,
    standardize_frames,
)
from disentangle.networks import TwoLayers
from disentangle.nn import Standardize
from disentangle.tasks import as_task

# %%
# A trained model
# ---------------
#
# Any run will do: MIRD's, one of your own. This one reads voice and face and no text, since torch takes longer to
# export a text encoder than a page should take to build.


class Manner(Model):
    def __init__(self, sizes, task, d=256):
        super().__init__()
        self.task = as_task(task)
        self.standardize = nn.ModuleDict({m: Standardize(sizes[m]) for m in sizes})
        self.read = nn.ModuleDict({m: TwoLayers(sizes[m], d, d) for m in sizes})
        self.head = TwoLayers(len(sizes) * d, d, self.task.outputs)

    def forward(self, batch):
        latents = {}
        for m, standardize in self.standardize.items():
            frames = standardize(batch.sequences[m])
            latents[m] = Masked(self.read[m](frames.values), frames.mask).mean()
        return latents

    def predict(self, variables):
        latents = [variables[m] for m in self.read]
        return self.head(torch.cat(latents, 1)).squeeze(1)

    def losses(self, variables, batch):
        prediction = self.predict(variables)
        return {"Y": self.task.loss(prediction, batch.labels, batch.labeled)}


def recordings():
    return synthetic_recordings((400, 100, 200))


EXPERIMENT = Experiment(
    build=Manner,
    data=recordings,
    prepare=standardize_frames,
    objective=lambda options: lambda losses, penalties: losses["Y"].mean(),
    embedded={"lr": 1e-3, "epochs": 5},
    unlabeled=False,
)

folder = Path(tempfile.mkdtemp())
with chdir(folder):
    assert run_program(EXPERIMENT, ["--out", "run"]) == 0

# %%
# With torch
# ----------
#
# ``run/model`` is all that is needed: it can be moved by itself. Of a model that was trained in a loop of your own,
# :func:`disentangle.save` makes such a folder, and :func:`disentangle.load` reads it. Frames come as they are, and a
# modality that a recording lacks is left empty.

trained = open_trained(folder / "run" / "model", Manner)
test = recordings()["test"]
print("from voice and face:", trained.outcomes(test.select(range(3)))[:, 0])
print("from the voice:     ", trained.outcomes(test.select(range(3)), ["audio"])[:, 0])
print("latents:", {m: tuple(z.shape) for m, z in trained.encode(test).items()})

# %%
# As a file
# ---------
#
# ``python mine.py export --run run --out model.onnx`` does the same. What comes back is the largest difference between
# the file's scores and the model's, over three made-up rows.

for name, int8 in (("model.onnx", False), ("model8.onnx", True)):
    difference = export_onnx(trained, folder / name, int8=int8)
    print(f"{name}: its scores differ by at most {difference:.1g}")

# %%
# Without torch
# -------------
#
# The file itself says what it reads, and what its scores mean. This loop needs ``onnxruntime`` and numpy; words
# would go through the tokenizer beside the model: :doc:`../deploying` has the loop with text.


def opened(path):
    threads = onnxruntime.SessionOptions()
    threads.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(path, threads)


session = opened(folder / "model.onnx")
about = session.get_modelmeta().custom_metadata_map
sizes = json.loads(about["sizes"])
print(sizes, json.loads(about["task"])["task"])


def score(session, **frames):
    inputs = {}
    for name, size in sizes.items():
        given = frames.get(name, np.zeros((2, size), "f4"))
        inputs[name] = given[None]
        inputs[f"{name}_mask"] = np.full((1, len(given)), name in frames)
    return session.run(["scores"], inputs)[0][0]


voice, face = test.sequences["audio"][0], test.sequences["vision"][0]
print(score(session, audio=voice, vision=face), score(session, audio=voice))

# %%
# What it costs, what it saves
# ----------------------------
#
# The recordings of the test split, one by one on one core. Times are those of the machine that built this page.


def by_torch(i):
    return trained.outcomes(test.select([i]))[0, 0]


@torch.inference_mode()
def by_the_model_alone(i):
    return trained.model.predict(trained.model(batches[i])).item()


def by(session):
    return lambda i: score(session, **{m: x[i] for m, x in test.sequences.items()})


torch.set_num_threads(1)
dataset = trained.dataset(test)
batches = [collate([dataset[i]]) for i in range(len(test))]
weights = folder / "run" / "model" / "model.safetensors"
ways = {
    "torch": (by_torch, weights),
    "its model alone": (by_the_model_alone, weights),
    "ONNX": (by(session), folder / "model.onnx"),
    "ONNX, int8": (by(opened(folder / "model8.onnx")), folder / "model8.onnx"),
}
said = {}
for name, (way, file) in ways.items():
    way(0)  # the first call is slower
    start = time.perf_counter()
    said[name] = np.array([way(i) for i in range(len(test))])
    ms = 1000 * (time.perf_counter() - start) / len(test)
    error = np.abs(said[name] - test.labels).mean()
    size = file.stat().st_size / 1024
    print(f"{name:15} {size:5.0f} KiB {ms:6.2f} ms per recording, MAE {error:.4f}")

# %%
# Torch spends most of its time on making a batch of one recording; with many recordings at once, they share that time.
# The difference that 8 bits make, by recording:

difference = said["ONNX, int8"] - said["ONNX"]
figure, ax = plt.subplots(figsize=(6, 3), layout="constrained")
ax.scatter(said["ONNX"], difference, s=8)
ax.axhline(0, color="0.6", linewidth=1, zorder=0)
ax.set(xlabel="score in 32 bits", ylabel="score in 8 bits less that")

# %%
# What can go wrong
# -----------------
#
# - **The model is refused**, in a line that says why: it draws noise, packs sequences or looks at its rows in Python.
#   Which systems can be exported: :doc:`../deploying`.
# - **8 bits change what a mean does not show.** Here they pull large scores towards the middle, by more than the three
#   rows of the export showed, and the mean error stays as it is. Measure on your own data, by recording.
# - **Other features than in training.** A file checks how many there are, not what computed them. Compute them by the
#   same program, and give them as they are: they are standardised inside.
# - **It is slower than it should be.** ONNX Runtime takes all cores for one request. Where several come at a time, give
#   each session one thread, as here, and measure.
# - **A batch**: rows of any number and length go in at once, padded behind, with ``audio_mask`` false where they are.
