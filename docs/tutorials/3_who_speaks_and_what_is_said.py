"""
Who speaks, and what is said
============================

Two latents of short sounds, one for the word and one for the voice. Neither is to tell what the other is for; then a
word can be moved into another voice.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from disentangle import HSIC, Pairwise, PenaltyLoss, probe_classes
from disentangle.nn import NoisyLatent

# %%
# Voices
# ------
#
# They are made up, so that nothing has to be downloaded, and simpler than real ones. A word goes from one vowel to
# another. A voice has a pitch in Hz, a factor by which its throat moves all resonances, and a tilt in dB per octave. A
# take has a timing, a pitch and resonances of its own. What comes out is the logarithm of the power in 32 bands at 12
# times.

VOWELS = {  # resonances in Hz
    "a": (730, 1090, 2440),
    "e": (530, 1840, 2480),
    "i": (270, 2290, 3010),
    "o": (570, 840, 2410),
    "u": (300, 870, 2240),
}
WORDS = ("ai", "ia", "au", "ua", "eo", "oe")
VOICES = {
    "anna": (220, 1.15, -6),
    "ben": (110, 0.92, -9),
    "cem": (140, 1.00, -5),
    "dora": (190, 1.08, -10),
    "eva": (250, 1.20, -8),
    "finn": (95, 0.88, -6),
}
BANDS, TIMES, TAKES = 32, 12, 28
centers = np.geomspace(100, 5000, BANDS)
time = np.linspace(0, 1, TIMES)[:, None]


def say(word: str, voice: str, seed: int) -> np.ndarray:
    """A take, (times, bands); takes of one seed differ in word and voice alone."""
    draw = np.random.default_rng(seed)
    pitch, throat, tilt = VOICES[voice] * draw.normal(1, (0.06, 0.02, 0.1))
    first, second = np.array([VOWELS[vowel] for vowel in word])
    course = 1 / (1 + np.exp(-12 * (time - draw.normal(0.5, 0.08))))
    formants = throat * (first + course * (second - first)) * draw.normal(1, 0.03, 3)
    tones = pitch * (1 - 0.15 * time) * np.arange(1, 50)
    resonance = 1 / (1 + ((tones[..., None] - formants[:, None]) / 120) ** 2)
    power = 10 ** (tilt / 10 * np.log2(tones / 100)) * resonance.sum(2) ** 2
    near = np.exp(-((np.log(tones[..., None] / centers) / 0.08) ** 2) / 2)
    heard = (power[..., None] * near).sum(1) * np.sin(np.pi * (0.02 + 0.96 * time))
    return np.log(heard + 1e-6) + draw.normal(0, 0.3, (TIMES, BANDS))


names = list(VOICES)
takes = [(w, v) for w in range(len(WORDS)) for v in range(len(VOICES))] * TAKES
word, voice = torch.tensor(takes).T
raw = np.stack([say(WORDS[w], names[v], seed) for seed, (w, v) in enumerate(takes)])
center, scale = raw.mean((0, 1)), raw.std((0, 1))


def standardized(sounds: np.ndarray) -> Tensor:
    return torch.tensor((sounds - center) / scale, dtype=torch.float32)


sounds = standardized(raw)
train, test = slice(0, len(sounds) * 3 // 4), slice(len(sounds) * 3 // 4, None)

# %%
# The model
# ---------
#
# The latents have a fixed scale and carry noise, so that they can forget. One decoder draws the sound from both. Sounds
# of different lengths would go through a :class:`disentangle.SequenceEncoder`, which takes a mask; these are equally
# long, and the encoders see the mean of each sixth.

SIZES = {"content": 32, "speaker": 16}


class Voices(nn.Module):
    def __init__(self):
        super().__init__()
        self.encode = nn.ModuleDict()
        for name, d in SIZES.items():
            self.encode[name] = nn.Sequential(
                nn.AdaptiveAvgPool1d(6),
                nn.Flatten(),
                nn.Linear(6 * BANDS, 64),
                nn.ReLU(),
                nn.Linear(64, d),
                NoisyLatent(d, noise=0.3),
            )
        self.tell_word = nn.Linear(SIZES["content"], len(WORDS))
        self.tell_voice = nn.Linear(SIZES["speaker"], len(VOICES))
        self.draw = nn.Sequential(
            nn.Linear(sum(SIZES.values()), 128),
            nn.ReLU(),
            nn.Linear(128, 128),
            nn.ReLU(),
            nn.Linear(128, TIMES * BANDS),
        )

    def forward(self, sounds: Tensor) -> dict[str, Tensor]:
        return {name: encode(sounds.mT) for name, encode in self.encode.items()}

    def decode(self, content: Tensor, speaker: Tensor) -> Tensor:
        return self.draw(torch.cat([content, speaker], 1)).view(-1, TIMES, BANDS)


# %%
# Training
# --------
#
# Word and voice are known in training, and each latent is to tell its own to a linear map. The penalty has two pairs:
# the content and the voice, the speaker and the word. It grows from nothing, over large batches.


def fit(weight: float, steps: int = 150, seed: int = 0) -> Voices:
    torch.manual_seed(seed)
    model = Voices()
    pairs = {
        ("content", "voice"): HSIC(kernel="laplace", scales=(0.5,)),
        ("speaker", "word"): HSIC(kernel="laplace", scales=(0.5,)),
    }
    penalty = PenaltyLoss(Pairwise(pairs))
    optimizer = torch.optim.Adam(model.parameters(), 4e-3)
    for step in range(steps):
        rows = torch.randperm(train.stop)[:320]
        z = model(sounds[rows])
        error = (model.decode(**z) - sounds[rows]).square().mean()
        told = cross_entropy(model.tell_word(z["content"]), word[rows])
        told = told + cross_entropy(model.tell_voice(z["speaker"]), voice[rows])
        loss = error.log() + told
        if weight:
            penalty.weight = weight * min(1, 2 * step / steps)
            loss = loss + penalty({**z, "word": word[rows], "voice": voice[rows]})
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()


models = {"without a penalty": fit(0), "with HSIC": fit(1500)}

# %%
# What does each latent tell?
# ---------------------------
#
# A small network learns to read word and voice from the latents of the takes above, and is asked for those of takes
# that nothing has seen. Chance is one in six. What should be read is on the diagonal, what should not is beside it.

with torch.no_grad():
    latents = {name: model(sounds) for name, model in models.items()}
read = {}
for name, model in models.items():
    error = (model.decode(**latents[name]) - sounds)[test].square().mean()
    print(f"{name}: error of what is rebuilt {error:.3f}")
    for latent, z in latents[name].items():
        for factor, labels in {"word": word, "voice": voice}.items():
            found = probe_classes(z[train], labels[train], test=(z[test], labels[test]))
            read[name, latent, factor] = found.accuracy
            print(
                f"  {factor} from {latent}: {found.accuracy:.2f}"
                f" (chance {found.chance:.2f})"
            )

# %%

figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
for ax, name in zip(axes, models, strict=True):
    cells = [[read[name, z, factor] for z in SIZES] for factor in ("word", "voice")]
    picture = ax.imshow(cells, cmap="Blues", vmin=1 / 6, vmax=1)
    for (i, j), value in np.ndenumerate(cells):
        color = "white" if value > 0.6 else "black"
        ax.text(j, i, f"{value:.2f}", ha="center", va="center", color=color, size=14)
    ax.set_title(name)
    ax.set_xticks([0, 1], [f"from {latent}" for latent in SIZES])
    ax.set_yticks([0, 1], ["word", "voice"])
figure.colorbar(picture, label="accuracy, from chance to 1")

# %%
# A word in another voice
# -----------------------
#
# The content latent of a take is decoded with the mean speaker latent of another voice. Since the sounds are made up,
# the truth is known: the same take, said by the other. Every take that was held out goes into the next voice of the
# list.

following = (voice + 1) % len(VOICES)
held_out = range(train.stop, len(takes))
truth = standardized(
    np.stack([say(WORDS[takes[i][0]], names[following[i]], i) for i in held_out])
)
converted = {}
with torch.no_grad():
    for name, model in models.items():
        speaker = latents[name]["speaker"][train]
        means = torch.stack([speaker[voice[train] == v].mean(0) for v in range(6)])
        content = latents[name]["content"][test]
        converted[name] = model.decode(content, means[following[test]])
        error = (converted[name] - truth).square().mean()
        print(f"{name}: error of the conversion {error:.3f}")
print(f"no conversion at all: {(sounds[test] - truth).square().mean():.3f}")

# %%
# From left to right: a take, moved without and with the penalty, and the truth.

chosen = [int((word[test] == w).nonzero()[0]) for w in (0, 3, 4)]
figure, axes = plt.subplots(3, 4, figsize=(11, 6.5), sharex=True, layout="constrained")
for row, i in zip(axes, chosen, strict=True):
    one, other = names[voice[test][i]], names[following[test][i]]
    said = f"“{WORDS[word[test][i]]}”"
    shown = {f"{one} says {said}": sounds[test][i]}
    shown |= {f"as {other}, {name}": moved[i] for name, moved in converted.items()}
    shown |= {f"{other} says {said}": truth[i]}
    for ax, (title, sound) in zip(row, shown.items(), strict=True):
        ax.imshow(sound.T, origin="lower", aspect="auto", vmin=-2, vmax=2)
        ax.set_title(title, size=10)
        ax.set_xticks([])
        ax.set_yticks([0, 12, 24], [f"{centers[band]:.0f} Hz" for band in (0, 12, 24)])

# %%
# With recordings of your own
# ---------------------------
#
# ``python examples/speech.py --data FOLDER`` does the same with recordings whose names carry both factors, such as
# ``7_jackson_32.wav``, of any length. It draws these two pictures, and compares penalties. What came out on spoken
# digits, and of speakers that were not trained on: :doc:`../results/index`.
#
# What can go wrong
# -----------------
#
# - **The voice is still read.** Take larger batches, a larger weight or more noise. If only a linear probe is at
#   chance, the penalty sees no more than a line.
# - **The word is lost.** The penalty came too early or weighs too much, or the latent is too small: what it tells has
#   to be told above its noise.
# - **Each speaker says words of their own.** Then word and voice depend on each other, and no latent can tell the one
#   without the other. Every voice has to say every word.
# - **Speakers that are not in the training set.** The latent forgets the differences between those it has met. With few
#   of them, that is not what makes a voice: hold out speakers, not takes, to see.
