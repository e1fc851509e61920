"""
CLUB in your own loop, in Lightning, in Hugging Face's Trainer, on two processes
================================================================================

A model computes two representations, and one must not tell what the other does. That is one more term of its loss. The
loop stays as it is, whoever wrote it.
"""

import tempfile
import warnings

import matplotlib.pyplot as plt
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from disentangle import (
    CLUBEstimator,
    Pairwise,
    PenaltyLoss,
    estimate_mutual_information,
    probe_numbers,
)
from disentangle.errors import EstimatorWarning
from disentangle.networks import TwoLayers
from disentangle.nn import NoisyLatent

torch.manual_seed(0)

# %%
# The data
# --------
#
# Each row is twelve numbers, made of five: two that are known, the target, and three others. All five are independent.

mixing = torch.randn(5, 12)


def draw(rows: int) -> tuple[Tensor, Tensor]:
    """Data, (rows, 12), and targets, (rows, 2)."""
    causes = torch.randn(rows, 5)
    x = torch.tanh(causes @ mixing / 2)
    return x + 0.05 * torch.randn_like(x), causes[:, :2]


train, held_out = draw(1600), draw(800)

# %%
# The model
# ---------
#
# It is your own, and so is its loss. ``content`` has to tell the target, and the decoder gets both latents, so nothing
# keeps ``style`` from telling the target too. New are the penalty and its term. ``CLUBEstimator(2, 4)`` learns
# q(style | content), from two numbers to four. The penalty is a part of the model, so that checkpoints have the
# estimator. It is not among the model's parameters: your optimizer leaves it alone, and it learns when it is called.


class Separated(nn.Module):
    def __init__(self, weight: float, **options):
        super().__init__()
        self.content = nn.Sequential(TwoLayers(12, 64, 2), NoisyLatent(2))
        self.style = nn.Sequential(TwoLayers(12, 64, 4), NoisyLatent(4))
        self.tell, self.decode = nn.Linear(2, 2), TwoLayers(6, 64, 12)
        pairs = Pairwise({("content", "style"): CLUBEstimator(2, 4)})
        self.penalty = PenaltyLoss(pairs, weight=weight, **options)

    def forward(self, x: Tensor, target: Tensor) -> dict[str, Tensor]:
        z = {"content": self.content(x), "style": self.style(x)}
        loss = (self.tell(z["content"]) - target).square().mean()
        rebuilt = self.decode(torch.cat([z["content"], z["style"]], 1))
        loss = loss + 5 * (rebuilt - x).square().mean()
        return {"loss": loss + self.penalty(z), **z}


# %%
# Your loop
# ---------
#
# Nothing in it is new but what notes the penalty's value and lag, for the log.


def fit(
    model: Separated, epochs: int = 15
) -> tuple[Separated, list[tuple[float, float]]]:
    """The model, and the value and the lag of its penalty at each step."""
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    history = []
    for _ in range(epochs):
        for x, target in DataLoader(TensorDataset(*train), 200, shuffle=True):
            optimizer.zero_grad()
            model(x, target)["loss"].backward()
            optimizer.step()
            penalty = model.penalty
            value, lag = penalty.values["CLUB(content;style)"], penalty.lag
            history.append((value.item(), 0.0 if lag is None else lag.item()))
    return model.eval(), history


def made(weight: float, **options) -> Separated:
    torch.manual_seed(0)
    return Separated(weight, **options)


models = {"no penalty": fit(made(0)), "CLUB": fit(made(0.3))}

# %%
# Which number to report
# ----------------------
#
# Not the penalty's. CLUB is an upper bound of the information where its estimator is good, and no bound where it is
# not; nor is it the information. Report what a meter says that was not trained against, on rows that were held out:
# :func:`disentangle.estimate_mutual_information`, in nats. By default it chooses the method by itself; nearest
# neighbors are quicker, and enough for so few dimensions. Beside it is what a small network reads of the target from
# ``style``, as R².


@torch.no_grad()
def measure(name: str) -> None:
    model, history = models[name]
    value, lag = torch.tensor(history)[-25:].mean(0)
    known, new = model(*train), model(*held_out)
    found = estimate_mutual_information(
        new["content"], new["style"], method="nearest neighbors"
    )
    read = probe_numbers(known["style"], train[1], test=(new["style"], held_out[1])).r2
    print(f"{name}: CLUB {value:.2f}, lag {lag:.2f} (means of the last 25 steps)")
    print(f"  {found}\n  target read from style: R² {read:.2f}")


for name in models:
    measure(name)

# %%
# An estimator that lags
# ----------------------
#
# Both times CLUB is above the meter, as an upper bound should be. That holds while its estimator keeps up: it learns a
# few steps per batch, and the latents move. If it is too slow, the value falls because the estimator is wrong, and not
# because the latents are independent. Here it is made slow on purpose: one step in place of five, and a rate of 0.001
# that does not adapt, as it would by default.

with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always", EstimatorWarning)
    models["CLUB, lagging"] = fit(made(0.3, inner_steps=1, lr=1e-3))
measure("CLUB, lagging")
for warning in caught:
    print(f"{warning.category.__name__}: {warning.message}")

# %%
# Its value ends lower than where the estimator keeps up, and its latents share more than twice as much. The lag tells:
# it is near 0 where the estimator keeps up, and near 1 where each batch asks it to go on as the one before did. One
# batch says little; read the mean over some.

figure, axes = plt.subplots(1, 2, figsize=(9, 3), layout="constrained")
for name, (_, history) in models.items():
    for ax, line in zip(axes, torch.tensor(history).T, strict=True):
        ax.plot(range(10, len(line) + 1), line.unfold(0, 10, 1).mean(1), label=name)
axes[0].set_title("value of CLUB, in nats")
axes[1].set_title("lag")
axes[0].legend()
for ax in axes:
    ax.axhline(0, color="gray", lw=0.8)
    ax.set_xlabel("step, each point the mean of ten")

# %%
# In Hugging Face's Trainer
# -------------------------
#
# The same model: the ``Trainer`` wants a ``loss`` in what ``forward`` returns, and there it is. ``log`` is overridden
# so that the penalty's value stands in the log, and goes to wherever the ``Trainer`` reports to. A few steps:

from transformers import Trainer, TrainingArguments


class Logged(Trainer):
    def log(self, logs, *args):
        values = self.model.penalty.values.items()
        super().log({**logs, **{name: value.item() for name, value in values}}, *args)


trainer = Logged(
    model=made(0.3),
    args=TrainingArguments(
        tempfile.mkdtemp(),
        max_steps=24,
        per_device_train_batch_size=200,
        learning_rate=5e-3,
        logging_steps=8,
        use_cpu=True,
        disable_tqdm=True,
        report_to="none",
    ),
    train_dataset=[
        {"x": x, "target": target} for x, target in zip(*train, strict=True)
    ],
)
trainer.train()
print("calls of the penalty:", trainer.model.penalty.iteration)

# %%
# In Lightning
# ------------
#
# ``training_step`` returns the loss. There is one optimizer, the model's, so nothing has to be optimized by hand. This
# block does not run when this page is built, since Lightning need not be installed then; a test runs it as it stands.
#
# .. code-block:: python
#
#    import lightning
#
#
#    class Lit(lightning.LightningModule):
#        def __init__(self):
#            super().__init__()
#            self.model = Separated(0.3)
#
#        def training_step(self, batch):
#            loss = self.model(*batch)["loss"]
#            self.log_dict(self.model.penalty.values)
#            return loss
#
#        def configure_optimizers(self):
#            return torch.optim.Adam(self.parameters(), 5e-3)
#
#
#    lit = Lit()
#    runner = lightning.Trainer(max_epochs=15, accelerator="cpu", logger=False)
#    runner.fit(lit, DataLoader(TensorDataset(*train), 200, shuffle=True))
#
# On two processes
# ----------------
#
# CLUB is a number of a whole batch, not a mean over rows: two processes that compute it on half of the rows each, and
# average, would train on something else. So the processes exchange their latents inside the penalty; the estimators
# learn from all rows, in each process alike. All that is needed is that each process calls the penalty, in ``forward``.
#
# The ``Trainer`` above needs no change: start its script by ``torchrun --nproc-per-node 2``. Lightning takes
# ``devices=2``. For a loop of your own, three lines of Accelerate will do. Save everything above "Your loop" as
# ``train.py``, and these lines after it; 100 rows for each of two processes are the 200 from above.
#
# .. code-block:: python
#
#    from accelerate import Accelerator
#
#    if __name__ == "__main__":
#        accelerator = Accelerator(cpu=not torch.cuda.is_available())
#        model = Separated(0.3)
#        model, optimizer, loader = accelerator.prepare(
#            model,
#            torch.optim.Adam(model.parameters(), 5e-3),
#            DataLoader(TensorDataset(*train), 100, shuffle=True),
#        )
#        for epoch in range(15):
#            for x, target in loader:
#                optimizer.zero_grad()
#                accelerator.backward(model(x, target)["loss"])
#                optimizer.step()
#        model = accelerator.unwrap_model(model).eval()
#        if accelerator.is_main_process:
#            with torch.no_grad():
#                new = model(*(part.to(accelerator.device) for part in held_out))
#            print(accelerator.num_processes, "processes,", model.penalty.iteration, "steps")
#            content, style = new["content"], new["style"]
#            print(estimate_mutual_information(content, style, method="nearest neighbors"))
#        accelerator.wait_for_everyone()
#        accelerator.end_training()
#
# .. code-block:: sh
#
#    torchrun --nproc-per-node 2 train.py
#
# A test runs this, too. On CPUs take ``torchrun`` and ``cpu=True`` as here, and look at how many processes are counted:
# ``accelerate launch --num_processes 2`` starts a single one there, and without ``cpu=True`` each of two trains alone.
# By hand, with ``DistributedDataParallel``, in Fabric, and what else is to be known of each: :doc:`../own_loop`.
# Several machines: :doc:`../processes`.
#
# What can go wrong
# -----------------
#
# - **The value is negative.** The information cannot be, but an estimate can: of latents that are independent, it is
#   half of the time. Where it stays clearly below 0, the estimator is more surprised by true pairs than by shuffled
#   ones: it lags. :doc:`../mutual_information` has the other reasons.
# - **A warning says that the estimators lag.** Raise ``inner_steps``; if you gave ``lr``, leave it out or raise it.
#   With few rows in a batch, noise hides a lag, and no warning comes.
# - **The estimator is in the model's optimizer.** Then it learns to make the penalty small. With ``PenaltyLoss`` that
#   cannot happen, by hand it easily does.
# - **The penalty is called outside of** ``forward``. On several processes its gradient is then not averaged as it
#   expects, and a process that does not call it lets the others wait.
# - **Gradients are accumulated.** Each part is a batch of its own to CLUB: make it as large as memory allows.
# - **The wrong latent forgets.** The term does not say which of the two gives way. ``{"content":
#   z["content"].detach(), ...}`` says that it is ``style``.
