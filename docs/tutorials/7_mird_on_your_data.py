"""
MIRD on your data
=================

From a folder of recordings to a table: a look at the data, training, a baseline beside it, a prediction. The commands
are those that you would type in a clone of the repository, whose ``examples/`` hold MIRD; here they run in place.
"""

import csv
import shlex
import sys
import tempfile
from contextlib import chdir
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from disentangle.data.__main__ import main as report
from disentangle.experiments import compare_runs

sys.path.append(str(Path("../../examples").resolve()))  # from docs/tutorials of a clone
import mird_mosi
import text_only

# %%
# A folder of recordings
# ----------------------
#
# A table with what was said, and an array of frames for each recording and modality: that is all that is needed, and a
# recording may lack any of it. This one is made up. Opinions on films are rated from -4 to 4; half of the rating is in
# the words, half in the tone of the voice, and the face repeats a bit of what the words say.

folder = Path(tempfile.mkdtemp())
draw = np.random.default_rng(0)
GOOD = ["great", "lovely", "funny", "warm", "brilliant", "moving", "clever"]
BAD = ["dull", "awful", "slow", "cold", "clumsy", "boring", "silly"]
PARTS = ["plot", "music", "end", "cast", "camera"]


def opinion(said):
    good = draw.random(3) < (said + 2) / 4
    parts = draw.choice(PARTS, 3, replace=False)
    words = [draw.choice(GOOD if each else BAD) for each in good]
    pairs = zip(parts, words, strict=True)
    return ", ".join(f"the {part} was {word}" for part, word in pairs)


def frames(level, features):
    shape = (draw.integers(6, 12), features)  # as long as the recording happens to be
    return (level * np.linspace(1, -1, features) + draw.normal(size=shape)).astype("f4")


for modality in ("audio", "vision"):
    (folder / "my_set" / modality).mkdir(parents=True)
rows = []
for i in range(150):
    said, tone = draw.uniform(-2, 2, 2)
    name, split = f"clip{i:03}", ("train", "train", "train", "valid", "test")[i % 5]
    rows.append([name, opinion(said), f"{said + tone:.2f}", split])
    face = frames(said / 2, 6)
    face[draw.random(len(face)) < 0.05] = np.nan  # the tracker lost it
    np.save(folder / "my_set" / "vision" / f"{name}.npy", face)
    if i % 7 != 3:  # of some there is no sound
        np.save(folder / "my_set" / "audio" / f"{name}.npy", frames(tone, 8))
rows.append(["copy", *rows[0][1:3], "test"])  # and one was uploaded twice


def write_table():
    with open(folder / "my_set" / "index.csv", "w", newline="") as file:
        csv.writer(file).writerows([["id", "text", "label", "split"], *rows])


write_table()

# %%
# Look before you train
# ---------------------
#
# The report says what is there, what is missing, what the labels are, and which metrics follow from them. With
# ``--figure data.png`` it also draws that.

PROGRAMS = {
    "-m disentangle.data": report,
    "examples/mird_mosi.py": mird_mosi.main,
    "examples/text_only.py": text_only.main,
}


def run(program, arguments):
    """A command in this process: to start another takes longer than what it does."""
    print(f"$ python {program} {arguments}")
    with chdir(folder):
        assert PROGRAMS[program](shlex.split(arguments)) == 0


run("-m disentangle.data", "my_set")

# %%
# What is wrong comes first. Missing frames and values that are no numbers are masked in the model, so that they can
# stay. A recording in two splits cannot: the model would be tested on what it has seen.

rows = [row for row in rows if row[0] != "copy"]
write_table()

# %%
# MIRD, and words alone
# ---------------------
#
# Two seeds each. ``tiny`` is a small text encoder of random weights, which learns from your transcripts alone: enough
# to see that everything works, and nothing more. For a result give ``--backbone`` the folder or
# the name of a pretrained one, and leave out the other options, which make it quick. ``--seeds 0 1`` would train both,
# each in a process of its own.

options = "--data my_set --backbone tiny --lr 8e-3 --batch-size 15 --epochs 5"
for seed in (0, 1):
    out = f"--seed {seed} --out runs/mird/seed-{seed}"
    run("examples/mird_mosi.py", f"{options} --latent-size 16 {out}")

# %%

for seed in (0, 1):
    out = f"--seed {seed} --out runs/words/seed-{seed}"
    run("examples/text_only.py", f"{options} {out}")

# %%
# The table
# ---------
#
# Mean and standard deviation over the seeds, and the difference: with its interval over seeds, and with one over the
# recordings of the test split. ``python examples/study.py compare runs/words runs/mird`` prints the same.

runs = {"words alone": folder / "runs" / "words", "MIRD": folder / "runs" / "mird"}
table = compare_runs(runs, resamples=500)
print(table)

# %%
# As files for a paper: ``table.save("comparison")``. A dot is a seed:

table.plot(folder / "table.png")
picture = plt.imread(folder / "table.png")
plt.figure(figsize=(8, 8 * len(picture) / len(picture[0])), layout="constrained")
plt.imshow(picture)
plt.axis("off")

# %%
# One recording
# -------------
#
# What the model says of a clip, and what each modality has to do with it: the rating with the modality less the
# rating without it. Frames come as ``.npy`` here; a ``.wav`` or a video is read as well where its features are what
# the run was trained on.

run(
    "examples/mird_mosi.py",
    "predict --run runs/mird/seed-0 --text 'the plot was dull, the end was great' "
    "--audio my_set/audio/clip004.npy --vision my_set/vision/clip004.npy",
)

# %%
# From videos
# -----------
#
# The folder is what ``python -m disentangle.features audio videos/*.mp4 --out my_set/audio`` and its kin for faces and
# transcripts make: :doc:`../own_videos`. Pickles of MOSI, MOSEI and CH-SIMS, and other layouts, are read as they are:
# :doc:`../own_data`.
#
# What can go wrong
# -----------------
#
# - **Everything is near the training mean**, the last lines below each run, as words alone is here. The model has
#   learnt next to nothing: too few steps (more epochs, smaller batches), or a wrong rate. Then a comparison says
#   nothing about the systems.
# - **A difference that two seeds make.** Look at the standard deviations first. An interval over two seeds is mostly
#   wide, and where it is narrow, that is chance; five are the least for a claim.
# - **The same person in train and test.** The report sees copies, not people. Put all recordings of one into one split.
# - **"estimators lag"** behind an epoch: the networks that measure information are behind latents that move fast.
#   Mostly it passes as the rate decays; where it stays, see :doc:`../independent`.
# - **You want latents that are independent**, not MIRD as published: ``--preset independent``, see :doc:`../paper`.
