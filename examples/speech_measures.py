"""What probes read from the latents of speech, as numbers, as a table and as a picture; and one speaker's words by another."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from speech_folder import Speech
from torch import Tensor

from disentangle import Masked, probe_classes
from disentangle.plots import blank_figure, plot_matrix
from disentangle.text_tables import aligned

if TYPE_CHECKING:
    from speech import Voices

FACTORS = ("content", "speaker")
Latents = dict[str, dict[str, Tensor]]  # by part of the recordings (train, test, unseen), then by name


def measure(latents: Latents, draws: list[Latents], parts: dict[str, Speech], seed: int) -> dict[str, Any]:
    """How often probes that learn from the rows of `train` read each factor from each latent of held-out rows.

    A second neural probe learns from several draws of the latents' noise and is asked about as many: it reads more.
    """

    def read(part: str, latent: str, factor: str) -> dict[str, Any]:
        names = ("train", part)
        known, known_test = (getattr(parts[name], factor) for name in names)
        z, z_test = (latents[name][latent] for name in names)
        many, many_test = (torch.stack([each[name][latent] for each in draws]) for name in names)
        linear = probe_classes(z, known, test=(z_test, known_test), kind="linear", seed=seed)
        neural = probe_classes(z, known, test=(z_test, known_test), seed=seed)
        strongest = probe_classes(many, known, test=(many_test, known_test), seed=seed)
        accuracies = {"linear": linear.accuracy, "neural": neural.accuracy, "neural_draws": strongest.accuracy}
        return {**accuracies, "interval": list(neural.interval), "chance": neural.chance}

    found = {f"{latent}_latent": {factor: read("test", latent, factor) for factor in FACTORS} for latent in FACTORS}
    return {**found, "unseen": read("unseen", "content", "content") if "unseen" in parts else None}


def as_table(found: dict[str, Any]) -> str:
    """The matrix, a line per latent and factor."""
    lines = [
        (f"{latent}_latent", factor, found[f"{latent}_latent"][factor]) for latent in FACTORS for factor in FACTORS
    ]
    lines += [("content_latent", "content, unseen speakers", found["unseen"])] if found["unseen"] else []
    cells = [["latent", "factor", "linear", "neural", "95 %", "neural, ten draws", "chance"]]
    for latent, factor, of in lines:
        linear, neural, draws, chance = (f"{of[name]:.2f}" for name in ("linear", "neural", "neural_draws", "chance"))
        low, high = of["interval"]
        cells.append([latent, factor, linear, neural, f"{low:.2f} to {high:.2f}", draws, chance])
    return aligned(cells, ["latent", "factor"])


def draw_matrix(found: dict[str, Any], path: Path, title: str) -> None:
    """What the neural probe reads, as a heat map."""
    values = [[found[f"{latent}_latent"][factor]["neural"] for latent in FACTORS] for factor in FACTORS]
    columns = [f"{latent}_latent" for latent in FACTORS]
    plot_matrix(values, FACTORS, columns, path, title, unit="held-out accuracy", maximum=1.0)


@torch.no_grad()
def draw_conversion(model: Voices, latents: Latents, parts: dict[str, Speech], path: Path) -> None:
    """Held-out words of one speaker as recorded, rebuilt, and in the voice of another, beside the other's own.

    A voice is the mean latent of a speaker's training rows. Nothing is drawn where no two speakers say a word both.
    """
    train, test = parts["train"], parts["test"]
    said_by = {who: {*test.content[test.speaker == who]} for who in np.unique(test.speaker)}
    pairs = [pair for pair in combinations(said_by, 2) if said_by[pair[0]] & said_by[pair[1]]]
    if not pairs:
        return
    first, second = pairs[0]
    voices = [latents["train"]["speaker"][torch.as_tensor(train.speaker == who)].mean(0) for who in (first, second)]
    words = sorted(said_by[first] & said_by[second])[:4]
    figure = blank_figure(10.0, 0.5 + 1.3 * len(words))
    for axes, word in zip(figure.subplots(len(words), 4, squeeze=False), words, strict=True):
        own, other = (np.flatnonzero((test.content == word) & (test.speaker == who))[:1] for who in (first, second))
        recorded, others = (model.standardize(test.select(rows).frames) for rows in (own, other))
        said = latents["test"]["content"][own]
        rebuilt, converted = (
            Masked(model.decode({"content": said, "speaker": voice[None]}, recorded.mask), recorded.mask)
            for voice in voices
        )
        shown = {f"{first}: {word}": recorded, f"{first}, rebuilt": rebuilt}
        shown |= {f"{first}'s in the voice of {second}": converted, f"{second}: {word}": others}
        for ax, (title, (values, mask)) in zip(axes, shown.items(), strict=True):
            ax.imshow(values[mask].T.numpy(), origin="lower", aspect="auto", vmin=-2, vmax=2)
            ax.set_title(title, loc="left", fontsize="small")
            ax.set_axis_off()
    figure.savefig(path, dpi=80)
