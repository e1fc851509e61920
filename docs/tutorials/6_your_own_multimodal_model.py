"""
Your own multimodal model
=========================

What do voice and face add to the words? One latent is of the words, the other of voice and face, and the second must
not tell what the words say already. The model is yours; reading data, training, resuming, seeds, evaluating and
predicting come from the library.
"""

import tempfile
from contextlib import chdir
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import nn

from disentangle import HSIC, Model, Pairwise, dependence_report, probe_numbers
from disentangle.data import synthetic_recordings
from disentangle.experiments import (
    Experiment,
    open_trained,
    run_program,
    standardize_frames,
)
from disentangle.networks import TwoLayers
from disentangle.nn import NoisyLatent, Standardize
from disentangle.tasks import as_task

# %%
# The data
# --------
#
# A made-up set, of vectors of words and frames of voice and face, all of different lengths. What is behind them is
# known: a factor that all three show, and one of each alone. The label depends on all of these.


def recordings():
    sizes = {"words": 20, "audio": 16, "vision": 24}
    return synthetic_recordings((600, 150, 400), features=sizes)


# %%
# The model
# ---------
#
# It is called with the sizes of the frames, and with the task, which follows from the labels of the training split:
# here one number. ``forward`` names what the model computes of a batch. ``words`` is no latent but an input: it takes
# part in the pair below. ``present`` says which rows have what, so that a recording without voice is left out where
# it must be.


class SaidAndShown(Model):
    def __init__(self, sizes, task, d=8):
        super().__init__()
        self.task = as_task(task)
        self.standardize = nn.ModuleDict({m: Standardize(sizes[m]) for m in sizes})
        shown = sizes["audio"] + sizes["vision"]
        self.said = nn.Sequential(
            TwoLayers(sizes["words"], 64, d), NoisyLatent(d, fixed="rows")
        )
        self.shown = nn.Sequential(
            TwoLayers(shown, 64, d), NoisyLatent(d, fixed="rows")
        )
        self.head = TwoLayers(2 * d, 64, self.task.outputs)

    def forward(self, batch):
        mean = {
            m: standardize(batch.sequences[m]).mean()
            for m, standardize in self.standardize.items()
        }
        shown = torch.cat([mean["audio"], mean["vision"]], 1)
        return {
            "said": self.said(mean["words"]),
            "shown": self.shown(shown),
            "words": mean["words"],
        }

    def present(self, batch):
        words, audio, vision = (batch.present[m] for m in ("words", "audio", "vision"))
        return {"said": words, "shown": audio | vision, "words": words}

    def predict(self, variables):
        latents = torch.cat([variables["said"], variables["shown"]], 1)
        return self.head(latents).squeeze(1)

    def losses(self, variables, batch):
        prediction = self.predict(variables)
        return {"label": self.task.loss(prediction, batch.labels, batch.labeled)}


# %%
# What must not tell about what
# -----------------------------
#
# One pair, and HSIC as the measure. It is one of many: ``CLUBEstimator(20, 8)`` in its place has a network that learns,
# and the program trains that too; its weight means something else, and has to be found anew. The weight is an option of
# the program.


def penalty(model, options):
    return Pairwise({("words", "shown"): HSIC(kernel="laplace", scales=(0.5,))})


def objective(options):
    def weighted(losses, penalties):
        return losses["label"].mean() + options.weight * sum(penalties.values())

    return weighted


EXPERIMENT = Experiment(
    build=SaidAndShown,
    data=recordings,
    prepare=standardize_frames,
    penalty=penalty,
    objective=objective,
    options=lambda method: method.add_argument("--weight", type=float, default=200.0),
    embedded={"lr": 5e-3, "epochs": 8},
    batch_size=128,
    unlabeled=False,
)

# %%
# Training
# --------
#
# An ``Experiment`` is a program. Here it runs in place; below is how it runs as a file.

folder = Path(tempfile.mkdtemp())


def program(command):
    print(f"$ python said_and_shown.py {command}")
    with chdir(folder):
        assert run_program(EXPERIMENT, command.split()) == 0


program("--weight 0 --out runs/without")

# %%

program("--weight 200 --out runs/with")

# %%
# Did it work?
# ------------
#
# The penalty cannot say. Meters can that were not trained against, on recordings that were not trained on. The two
# latents were never a pair: they share little only because ``shown`` knows little of the words.

test = recordings()["test"]
latents = {
    name: open_trained(folder / "runs" / name, SaidAndShown).encode(test)
    for name in ("without", "with")
}
both = {
    f"{latent}, {name}": latents[name][latent]
    for name in latents
    for latent in ("said", "shown")
}
pairs = [("said, without", "shown, without"), ("said, with", "shown, with")]
print(dependence_report(both, pairs=pairs, permutations=99, progress=False))

# %%
# The test still sees a dependence with the penalty: p is 0.01, the least that 99 permutations can give. But it is a
# small one, 0.04 nats instead of 0.23.
#
# What a small network reads from each latent of the factors behind the data, on rows that it has not seen (R² below 0
# is drawn as 0). Without a penalty ``shown`` tells what words, voice and face have in common. With it, that is left to
# the words; what only voice and face know stays in ``shown``, though less of it, which is the price.

factors = {"in all": "shared", "words": "words", "voice": "audio", "face": "vision"}
figure, axes = plt.subplots(1, 2, figsize=(8, 2.6), sharey=True, layout="constrained")
for ax, latent in zip(axes, ("said", "shown"), strict=True):
    for place, name in ((-0.2, "without"), (0.2, "with")):
        read = [
            probe_numbers(latents[name][latent], test.factors[factor]).r2
            for factor in factors.values()
        ]
        ax.bar(
            np.arange(4) + place, np.maximum(read, 0), 0.4, label=f"{name} the penalty"
        )
    ax.set(title=latent, xticks=range(4), xticklabels=list(factors), ylim=(0, 1))
axes[0].set_ylabel("R² of the factor")
axes[1].legend(frameon=False)

# %%
# As a program
# ------------
#
# Save everything above "Training" as ``said_and_shown.py``, with two lines at its end:
#
# .. code-block:: python
#
#    if __name__ == "__main__":
#        raise SystemExit(run_program(EXPERIMENT))
#
# It trains, on any data set that can be read with ``--data`` (:doc:`../own_data`), once per seed with ``--seeds 0 1
# 2``; it goes on where it stopped, is evaluated and predicts:
#
# .. code-block:: sh
#
#    python said_and_shown.py --out runs/first
#    python said_and_shown.py --resume runs/first
#    python said_and_shown.py evaluate --run runs/first
#    python said_and_shown.py predict --run runs/first --audio voice.npy --vision face.npy
#
# The rest of what a model can have:
#
# - **Words as text**: a model that takes an argument ``backbone`` gets a text encoder, and the program ``--backbone``
#   and ``--max-words``: :doc:`8_add_a_paper`.
# - **Several losses and labels**: ``losses`` returns as many as there are; further labels of the data are in
#   ``batch.more_labels``. Labels are for ``losses`` alone: ``forward`` and ``predict`` read none, since a recording to
#   be predicted has none.
# - **Several kinds of penalties**, each with a weight of its own: an ``nn.ModuleDict`` of ``Pairwise``, as in
#   ``examples/misa.py``.
# - **What forward computed and losses needs again** goes along under a name that begins with ``_``; it is no
#   variable, and nobody else sees it.
#
# What can go wrong
# -----------------
#
# - **The wrong latent forgets.** A pair ``("said", "shown")`` does not say which of the two gives up what they share:
#   it may be the words' latent, or both. An input, as ``words`` here, cannot give way.
# - **The penalty is small and the meter is not.** The measure does not see what is there: take larger batches, another
#   kernel, or an estimator that learns. :doc:`../independent` says what to try.
# - **A latent hides what it must not tell.** Without noise and a fixed scale it can, in digits that no measure sees:
#   hence ``NoisyLatent``. The noise is there in evaluation, too. ``predict`` draws the same noise on each call, so that
#   it repeats itself; another draw would say something else, here by 0.1 or so.
# - **Prediction gets worse.** What only the penalised latent could tell is gone. Here the words tell it too.
