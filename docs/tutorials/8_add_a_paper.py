"""
Add a paper
===========

A paper is one file: a class, what must not tell about what, an objective. Here is one in its shortest form, a mistake
that the checks find, and how it comes to stand beside other systems. It needs a clone of the repository: the other
systems are files of its ``examples/``.
"""

import copy
import sys
import tempfile
from contextlib import chdir
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from torch import nn

from disentangle import Masked, Model, OrthogonalLoss, Pairwise
from disentangle.data import (
    RecordingDataset,
    collate,
    synthetic_recordings,
    write_folder,
)
from disentangle.experiments import (
    Experiment,
    compare_runs,
    run_program,
    standardize_frames,
)
from disentangle.networks import TwoLayers
from disentangle.nn import Standardize
from disentangle.nn.backbones import as_backbone, tiny_backbone
from disentangle.tasks import as_task, task_of

# %%
# The system
# ----------
#
# Late fusion: each modality is read to a vector, each vector votes, the votes are added. Vectors are to be orthogonal,
# so that each finds something of its own. A model that takes a ``backbone`` gets a text encoder, and its program
# ``--backbone``. Which modalities there are beside text is not up to the paper: ``sizes`` says it.
#
# ``lr`` and ``epochs`` in ``defaults``, at the end, are the paper's. They hold with ``--recipe paper`` only: data of
# your own are trained by ``--recipe tuned`` unless you say otherwise, at its own rates and number of epochs
# (:doc:`../study`).
#
# Here the penalty makes dependence small. A pair whose information is to be raised goes into the objective with a
# negative weight, best as a lower bound such as ``InfoNCEEstimator``. Of the estimators with a conditional q(y|x), take
# ``DifferenceOfEntropiesEstimator`` where y itself learns. Its ``marginal`` r(y), of the same kind as its
# ``conditional``, learns how y changes; ``BarberAgakovEstimator`` takes the entropy of y for a constant.


class LateFusion(Model):
    def __init__(self, backbone, sizes, task, d=16):
        super().__init__()
        self.backbone, self.task = as_backbone(backbone), as_task(task)
        self.standardize = nn.ModuleDict({m: Standardize(sizes[m]) for m in sizes})
        width = {"text": self.backbone.config.hidden_size, **sizes}
        self.read = nn.ModuleDict({m: TwoLayers(width[m], 2 * d, d) for m in width})
        self.vote = nn.ModuleDict({m: nn.Linear(d, self.task.outputs) for m in width})

    def forward(self, batch):
        tokens = batch.tokens
        states = self.backbone(
            input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"]
        ).last_hidden_state
        special = tokens["special_tokens_mask"].bool()
        mean = {"text": Masked(states, ~special).mean()}
        for m, standardize in self.standardize.items():
            mean[m] = standardize(batch.sequences[m]).mean()
        has = {m: batch.present[m].to(states.device) for m in mean}
        return {**{m: self.read[m](mean[m]) for m in mean}, "_has": has}

    def present(self, batch):
        return {m: batch.present[m] for m in self.read}

    def predict(self, variables):
        votes = [
            vote(variables[m]) * variables["_has"][m].unsqueeze(1)
            for m, vote in self.vote.items()
        ]
        return torch.stack(votes).sum(0).squeeze(1)

    def losses(self, variables, batch):
        prediction = self.predict(variables)
        return {"Y": self.task.loss(prediction, batch.labels, batch.labeled)}


def penalty(model, options):
    pairs = combinations(model.read, 2)
    return Pairwise({pair: OrthogonalLoss() for pair in pairs})


def objective(options):
    def weighted(losses, penalties):
        return losses["Y"].mean() + options.apart * sum(penalties.values())

    return weighted


EXPERIMENT = Experiment(
    build=LateFusion,
    prepare=standardize_frames,
    penalty=penalty,
    objective=objective,
    options=lambda method: method.add_argument("--apart", type=float, default=0.1),
    defaults={"lr": 1e-4, "epochs": 100, "backbone": "bert-base-uncased"},
    unlabeled=False,
)

# %%
# Does it learn?
# --------------
#
# A model that cannot learn a handful of rows by heart has a fault: a loss of the wrong sign, a graph that is cut, a
# layer that nothing reads. It takes seconds to see.

splits = synthetic_recordings((120, 40, 100))
few = splits["train"].select(range(32))
torch.manual_seed(0)
backbone, tokenizer = tiny_backbone(few.text, hidden_size=16, layers=2, heads=2)
model = LateFusion(backbone, few.feature_sizes, task_of(few.labels))
EXPERIMENT.prepare(model, few)


def batch_of(recordings):
    dataset = RecordingDataset(recordings, tokenizer)
    return collate([dataset[i] for i in range(len(dataset))])


batch = batch_of(few)
optimizer = torch.optim.Adam(model.parameters(), 5e-3)
for step in range(41):
    loss = model.losses(model(batch), batch)["Y"].mean()
    if step % 20 == 0:
        print(f"step {step}: {loss / few.labels.var():.3f} of the labels' variance")
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()

# %%
# Do its masks hold?
# ------------------
#
# What reads a modality must have no say in a row that lacks it. So that is tried: new parameters for whatever reads a
# modality, and a look at which predictions change.

lacking = {m: list(frames) for m, frames in few.sequences.items()}
for i in range(5):
    lacking["audio"][i] = lacking["audio"][i][:0]
    lacking["vision"][i + 5] = lacking["vision"][i + 5][:0]
text = few.text[:-5] + [""] * 5
batch = batch_of(replace(few, text=text, sequences=lacking))


@torch.no_grad()
def try_masks(model):
    for modality in ("text", "audio", "vision"):
        other = copy.deepcopy(model)
        for name, parameter in other.named_parameters():
            if modality in name.split("."):
                parameter.normal_()
        one, two = (each.eval().predict(each(batch)) for each in (model, other))
        changed, has = (one != two).numpy(), batch.present[modality].numpy()
        print(
            f"{modality:6}: {changed[has].sum()} of {has.sum()} that have it change, "
            f"{changed[~has].sum()} of {(~has).sum()} that lack it"
        )


try_masks(model)

# %%
# A system that forgets the mask trains as well as this one, and nobody sees that what is missing votes:


class Careless(LateFusion):
    def predict(self, variables):
        votes = [vote(variables[m]) for m, vote in self.vote.items()]
        return torch.stack(votes).sum(0).squeeze(1)


careless = Careless(backbone, few.feature_sizes, task_of(few.labels))
EXPERIMENT.prepare(careless, few)
try_masks(careless)

# %%
# Beside another system
# ---------------------
#
# The same data, encoder, recipe and seed; one seed, so that everything runs here.

sys.path.append(str(Path("../../examples").resolve()))  # from docs/tutorials of a clone
import text_only

folder = Path(tempfile.mkdtemp())
write_folder(folder / "my_set", splits)
options = "--data my_set --backbone tiny --lr 3e-3 --batch-size 15 --epochs 5"
systems = {"words alone": text_only.EXPERIMENT, "late fusion": EXPERIMENT}
for name, experiment in systems.items():
    with chdir(folder):
        command = [*options.split(), "--out", f"runs/{name}"]
        assert run_program(experiment, command) == 0

# %%

table = compare_runs({name: folder / "runs" / name for name in systems}, resamples=100)
for name in systems:
    print(f"{name}: mean absolute error {table.values(name, 'mae')[0]:.3f}")
(error,) = (each for each in table.differences if each.metric == "mae")
low, high = error.rows_interval
print(f"difference {error.mean:.3f}; on other rows {low:.3f} to {high:.3f}, in 95 %")

# %%
# ``print(table)`` has all metrics, and with several seeds tests over these. How a run went, it has drawn:

picture = plt.imread(folder / "runs" / "late fusion" / "curves.png")
plt.figure(figsize=(8, 8 * len(picture) / len(picture[0])), layout="constrained")
plt.imshow(picture)
plt.axis("off")

# %%
# Where it goes
# -------------
#
# - ``examples/late_fusion.py``: everything above "Does it learn?", and the lines that make it a program. Its docstring,
#   which ``--help`` prints, names the paper, and says what the paper leaves open and where this differs from the
#   published code.
#
#   .. code-block:: python
#
#      from functools import partial
#
#      main = partial(run_program, EXPERIMENT)
#
#      if __name__ == "__main__":
#          raise SystemExit(main())
#
# - ``SYSTEMS`` in ``tests/examples/test_systems.py`` and ``tests/examples/test_every_example.py``, with what makes it
#   small. They hold it to the two checks above and more: a row is predicted as if it were alone, padding changes no
#   gradient, everything that can learn does, a run is evaluated and predicts, for every kind of label.
# - A line in each table of :doc:`../systems`.
#
# ``examples/study.py`` finds the file by itself:
#
# .. code-block:: sh
#
#    pytest tests/examples/test_systems.py tests/examples/test_every_example.py -k late_fusion
#    python examples/study.py table1 --systems text_only mird_mosi late_fusion --seeds 0 1 2 3 4 \
#        --data FILE --backbone ./my-bert --out study
#
# or in Python, with options of your own (:doc:`../study`):
#
# .. code-block:: python
#
#    from disentangle.experiments import Study, Variant
#
#    variants = {"late fusion": Variant(EXPERIMENT), "not apart": Variant(EXPERIMENT, ["--apart", "0"])}
#    print(Study("mine", variants, seeds=[0, 1, 2], folder="study").run(at_once=2))
#
# What can go wrong
# -----------------
#
# - **It is compared with a system that was tuned, or the other way round.** All systems share one recipe, so that a
#   difference comes from the systems. If you sweep a rate for one, sweep it for all, on validation data.
# - **The penalty has no rows.** A pair is measured on the rows that have both. In a batch where fewer than two have,
#   it is left out, so that an objective must not name it.
# - **A loss is averaged too early.** Return it row by row as ``Rows``; averaging it yourself, inside of ``losses``,
#   gives incomplete rows the same weight as the others.
# - **The paper's table is not met.** Its features, its text encoder and its choice of the best epoch are rarely the
#   same.
