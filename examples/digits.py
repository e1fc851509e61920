"""A latent that does not tell the digit: the style of handwritten digits, alone.

    python examples/digits.py                        two minutes or so on a CPU; the pictures are in runs/digits
    python examples/digits.py --penalty club         another penalty
    python examples/digits.py --seed 1 --out FOLDER

An encoder makes eight noisy numbers, the style, from an image of scikit-learn's digits; a decoder is told the style and the
digit, and rebuilds the image. What the decoder is told the style need not say, and without a penalty it says it all the same.
Two models are trained, without a penalty and with one. Then probes, trained on the styles of the training images, read the
digit from those of held-out ones.

In the folder: `styles.png`, the style of an image moved to every digit; `probes.png`, how often each probe is right;
`latents.npz` with train_latent, train_label, test_latent, test_label. The last line printed is JSON: how often a linear and a
neural probe read the digit (`linear`, `mlp`; `chance`), what the neural one reads when it is trained on ten draws of the
noise of each image (`mlp_draws`), since that tells more, and the error of reconstruction beside the one without a penalty.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm.auto import tqdm

from disentangle import HSIC, CLUBEstimator, Pairwise, PenaltyLoss, probe_classes
from disentangle.conditionals import CategoricalConditional
from disentangle.experiments.options import SEED, number
from disentangle.nn import NoisyLatent
from disentangle.plots import blank_figure, plot_matrix

D, WIDTH = 8, 256
EPOCHS, BATCH_SIZE = 1000, 512  # large batches: over few rows a kernel reads more chance than dependence
WEIGHTS = {"hsic": 2000.0, "club": 1.0}  # beside the logarithm of the error
LATENTS = ("train_latent", "train_label", "test_latent", "test_label")
DRAWS = 10  # of the noise of each image, for the strongest probe


def network(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, outputs)
    )


class Style(nn.Module):
    def __init__(self, noise: float):
        super().__init__()
        self.encode = nn.Sequential(network(64, D), NoisyLatent(D, noise, fixed="rows"))
        self.decoder = network(D + 10, 64)

    def decode(self, style: Tensor, digits: Tensor) -> Tensor:
        return self.decoder(torch.cat([style, F.one_hot(digits, 10).to(style)], 1)).sigmoid()


def penalty_of(kind: str) -> PenaltyLoss:
    """What the style must not tell about: the digit."""
    if kind == "hsic":
        return PenaltyLoss(Pairwise({("style", "digit"): HSIC(kernel="laplace", scales=(0.5,))}))
    return PenaltyLoss(
        Pairwise({("style", "digit"): CLUBEstimator(D, 1, conditional=CategoricalConditional(D, classes=10))})
    )


def train(kind: str, images: Tensor, digits: Tensor, noise: float, seed: int) -> Style:
    torch.manual_seed(seed)
    model, penalty = Style(noise), None if kind == "none" else penalty_of(kind)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    for epoch in tqdm(range(EPOCHS), desc=f"penalty: {kind}", unit="epoch", dynamic_ncols=True):
        for rows in torch.randperm(len(images))[: len(images) // BATCH_SIZE * BATCH_SIZE].split(BATCH_SIZE):
            image, digit = images[rows], digits[rows]
            style = model.encode(image)
            loss = (model.decode(style, digit) - image).square().mean().log()
            if penalty is not None:
                # first learn what to say, then what not to
                penalty.weight = WEIGHTS[kind] * min(1.0, 2 * epoch / EPOCHS)
                loss = loss + penalty({"style": style, "digit": digit})
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model


@torch.no_grad()
def measure(model: Style, known: tuple[Tensor, Tensor], held_out: tuple[Tensor, Tensor], seed: int) -> dict:
    """How often probes read the digit from the styles of held-out images, and the error of reconstruction there."""
    torch.manual_seed(seed)

    (images, y), (test_images, y_test) = known, held_out
    z, z_test = model.encode(images), model.encode(test_images)
    error = (model.decode(z_test, y_test) - test_images).square().mean().item()
    linear, neural = (probe_classes(z, y, test=(z_test, y_test), kind=kind, seed=seed) for kind in ("linear", "neural"))
    draws, test_draws = (
        model.encode(each.repeat(DRAWS, 1)).unflatten(0, (DRAWS, len(each))) for each in (images, test_images)
    )
    strongest = probe_classes(draws, y, test=(test_draws, y_test), seed=seed)
    read = {"linear": linear.accuracy, "mlp": neural.accuracy, "mlp_draws": strongest.accuracy, "chance": linear.chance}
    return read | {"error": error} | dict(zip(LATENTS, (z, y, z_test, y_test), strict=True))


@torch.no_grad()
def draw_styles(models: dict[str, Style], images: Tensor, path: Path) -> None:
    """The style of the first image of each row, in every digit."""
    figure = blank_figure(5.5 * len(models), 4.5)
    for ax, (name, model) in zip(figure.subplots(1, len(models), squeeze=False)[0], models.items(), strict=True):
        rows = []
        for image in images[:8]:
            style = model.encode(image[None]).expand(10, -1)
            moved = model.decode(style, torch.arange(10)).view(10, 8, 8)
            rows.append([image.view(8, 8), torch.zeros(8, 4), *moved])
        picture = torch.cat([torch.cat([F.pad(each, (1, 1, 1, 1)) for each in row], 1) for row in rows])
        ax.imshow(picture.numpy(), cmap="gray_r")
        kind = "without a penalty" if name == "none" else f"with {name.upper()}"
        ax.set_title(f"{kind}: an image, its style in every digit", loc="left", fontsize="x-large")
        ax.axis("off")
    figure.savefig(path, dpi=130, bbox_inches="tight")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--penalty", choices=("hsic", "club", "none"), default="hsic", help="(default: %(default)s)")
    parser.add_argument(
        "--noise", type=number(0, float, above=True), default=1.0, help="of the latent, beside 1 (default: %(default)s)"
    )
    parser.add_argument("--seed", type=SEED, default=0, help="draws everything but the split (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("runs/digits"), help="(default: %(default)s)")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    pixels, digits = load_digits(return_X_y=True)
    parts = train_test_split(pixels.astype(np.float32) / 16, digits, test_size=0.3, random_state=0, stratify=digits)
    images, test_images, digits, test_digits = map(torch.as_tensor, parts)
    kinds = dict.fromkeys(("none", options.penalty))
    models = {kind: train(kind, images, digits, options.noise, options.seed) for kind in kinds}
    found = {
        kind: measure(model, (images, digits), (test_images, test_digits), options.seed)
        for kind, model in models.items()
    }
    result = found[options.penalty]
    np.savez(options.out / "latents.npz", **{name: result[name].numpy() for name in LATENTS})
    draw_styles(models, test_images, options.out / "styles.png")
    probes = {"linear": "linear probe", "mlp": "neural probe", "mlp_draws": "neural, ten draws", "chance": "chance"}
    matrix = [[of[probe] for probe in probes] for of in found.values()]
    plot_matrix(
        matrix, list(found), list(probes.values()), options.out / "probes.png", "the digit, read from the style"
    )
    for kind, of in found.items():
        read = ", ".join(f"{name} {of[key]:.2f}" for key, name in probes.items())
        print(f"{kind}: {read}, error {of['error']:.4f}")
    print(f"see {options.out / 'styles.png'}")
    line = {name: result[name] for name in (*probes, "error")}
    print(json.dumps(line | {"error_without_penalty": found["none"]["error"]}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
