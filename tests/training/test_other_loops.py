"""`PenaltyLoss` in the loops of others: one step of the model per batch, less dependence, and runs that go on exactly."""

import os
import re
import subprocess
import sys
from pathlib import Path

import lightning
import pytest
import torch
from lightning.fabric import Fabric
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn
from torch.utils.data import DataLoader
from transformers import PretrainedConfig, PreTrainedModel, Trainer, TrainingArguments

from disentangle import CLUBEstimator, Pairwise, PenaltyLoss

EPOCHS, BATCHES, ROWS = 4, 12, 64
PAGE = (Path(__file__).parents[2] / "docs" / "own_loop.md").read_text()


class Sum(nn.Module):
    """A latent that starts as the sum of two independent numbers, u and v, and shall remain it, but not tell u."""

    def __init__(self, weight):
        super().__init__()
        self.layer = nn.Linear(2, 1)
        nn.init.ones_(self.layer.weight)
        self.penalty = PenaltyLoss(Pairwise({("z", "u"): CLUBEstimator(1, 1)}), weight=weight)

    def forward(self, x):
        z = self.layer(x)
        own = (z.squeeze(1) - x.sum(1)).square().mean()
        return {"loss": own + self.penalty({"z": z, "u": x[:, 0]})}

    def share_of_u(self, x):
        """The squared correlation of the latent with u."""
        with torch.no_grad():
            return torch.corrcoef(torch.stack([self.layer(x).squeeze(1), x[:, 0]]))[0, 1].item() ** 2


class Lit(lightning.LightningModule):
    def __init__(self, model, optimizer=None):
        super().__init__()
        self.model, self.optimizer = model, optimizer

    def training_step(self, batch):
        self.log_dict(self.model.penalty.values)
        return self.model(batch)["loss"]

    def validation_step(self, batch):
        self.log("valid", self.model(batch)["loss"])

    def configure_optimizers(self):
        return self.optimizer or torch.optim.Adam(self.parameters(), 3e-2)


@pytest.fixture
def x():
    return torch.randn(BATCHES * ROWS, 2)


def arguments(folder, epochs, save):
    return TrainingArguments(
        str(folder),
        num_train_epochs=epochs,
        per_device_train_batch_size=ROWS,
        save_strategy=save,
        eval_strategy="epoch",
        use_cpu=True,
        disable_tqdm=True,
        report_to="none",
    )


def lightning_trainer(folder, epochs, callbacks=()):
    return lightning.Trainer(
        default_root_dir=folder,
        max_epochs=epochs,
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=bool(callbacks),
        callbacks=list(callbacks),
    )


def of_transformers(model, optimizer, x, folder):
    rows = [{"x": row} for row in x]
    options = arguments(folder, EPOCHS, "no")
    trainer = Trainer(model, options, train_dataset=rows, eval_dataset=rows[:ROWS], optimizers=(optimizer, None))
    trainer.train()
    return trainer.state.global_step


def of_lightning(model, optimizer, x, folder):
    trainer = lightning_trainer(folder, EPOCHS)
    loader = DataLoader(x, ROWS, shuffle=True)
    trainer.fit(Lit(model, optimizer), loader, DataLoader(x[:ROWS], ROWS))
    assert trainer.callback_metrics["CLUB(z;u)"].isfinite()
    return trainer.global_step


def of_fabric(model, optimizer, x, folder):
    fabric = Fabric(accelerator="cpu", devices=1)
    wrapped, wrapped_optimizer = fabric.setup(model, optimizer)
    steps = 0
    for _ in range(EPOCHS):
        for batch in fabric.setup_dataloaders(DataLoader(x, ROWS, shuffle=True)):
            wrapped_optimizer.zero_grad()
            fabric.backward(wrapped(batch)["loss"])
            wrapped_optimizer.step()
            steps += 1
    return steps


@pytest.mark.slow
@pytest.mark.parametrize("loop", [of_transformers, of_lightning, of_fabric])
def test_the_model_takes_a_step_per_batch_and_its_latent_forgets(loop, x, tmp_path):
    shares = {}
    for weight in (0.0, 10.0):
        torch.manual_seed(0)
        model = Sum(weight)
        optimizer = torch.optim.Adam(model.parameters(), 3e-2)
        steps = []
        optimizer.register_step_post_hook(lambda *_: steps.append(1))  # noqa: B023
        assert loop(model, optimizer, x, tmp_path / str(weight)) == EPOCHS * BATCHES
        assert len(steps) == model.penalty.iteration == EPOCHS * BATCHES
        shares[weight] = model.share_of_u(x)
    assert shares[0.0] > 0.35
    assert shares[10.0] < 0.1


def assert_same(ours, theirs):
    assert ours.keys() == theirs.keys()
    assert "penalty._extra_state" in {name.removeprefix("model.") for name in ours}
    for name, t in ours.items():
        assert torch.equal(t, theirs[name]), name


@pytest.mark.slow
def test_a_run_of_transformers_goes_on_bit_for_bit(x, tmp_path):
    rows = [{"x": row} for row in x]
    options = arguments(tmp_path, 2, "epoch")
    whole, rest = (Trainer(Sum(10.0), options, train_dataset=rows, eval_dataset=rows[:ROWS]) for _ in range(2))
    whole.train()
    rest.train(resume_from_checkpoint=str(tmp_path / f"checkpoint-{BATCHES}"))
    assert rest.state.global_step == whole.state.global_step
    assert_same(rest.model.state_dict(), whole.model.state_dict())


@pytest.mark.slow
def test_a_run_of_lightning_goes_on_bit_for_bit(x, tmp_path):
    loader = DataLoader(x, ROWS)  # in order: Lightning keeps no state of generators
    whole, rest = Lit(Sum(10.0)), Lit(Sum(10.0))
    kept = ModelCheckpoint(tmp_path, "{epoch}", save_top_k=-1)
    lightning_trainer(tmp_path, 2, [kept]).fit(whole, loader, loader)
    trainer = lightning_trainer(tmp_path / "rest", 2)
    trainer.fit(rest, loader, loader, ckpt_path=tmp_path / "epoch=0.ckpt")
    assert trainer.global_step == 2 * BATCHES
    assert_same(rest.state_dict(), whole.state_dict())


@pytest.mark.slow
def test_the_script_of_the_page_trains_two_processes_alike(tmp_path):
    model = re.search(r"^```python\n((?:(?!```).)*?class Encoder.*?)^x = ", PAGE, re.MULTILINE | re.DOTALL)
    script = re.search(r"^```py\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert model
    assert script
    training, ending, _ = script[1].partition("dist.destroy_process_group()")
    assert ending  # without it one of them aborts, now and then
    keep = 'torch.save([encoder.penalty.iteration, encoder.state_dict()], f"{dist.get_rank()}.pt")\n'
    (tmp_path / "train.py").write_text(model[1] + training + keep + ending)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "train.py"]
    hosts = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}  # a machine may have one device, and the script wants two
    result = subprocess.run(launch, cwd=tmp_path, env=hosts, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-3000:]
    (calls, first), (_, second) = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    assert calls == 8
    assert_same(first, second)


class Pretrained(PreTrainedModel):
    config_class = PretrainedConfig

    def __init__(self, config):
        super().__init__(config)
        self.layer = nn.Linear(2, 4)
        pairs = {("a", "b"): CLUBEstimator(2, 2), ("b", "a"): CLUBEstimator(2, 2)}  # stacked
        self.penalty = PenaltyLoss(Pairwise(pairs))
        self.post_init()

    def forward(self, x):
        a, b = self.layer(x).split(2, 1)
        return {"loss": self.penalty({"a": a, "b": b})}


def test_a_pretrained_model_comes_back_with_its_estimators(x, tmp_path):
    """`from_pretrained` builds it on the meta device, and fills it."""
    model = Pretrained(PretrainedConfig())
    model(x)
    model.save_pretrained(tmp_path)
    again = Pretrained.from_pretrained(tmp_path).train()
    assert torch.equal(model(x)["loss"], again(x)["loss"])
    assert_same(model.state_dict(), again.state_dict())
