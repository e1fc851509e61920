import re

import pytest
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

from disentangle import Masked
from disentangle.data import RecordingDataset, loader, synthetic_recordings
from disentangle.inference import encode, predict
from disentangle.nn.backbones import tiny_backbone
from disentangle.training import accelerator_for


class Toy(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(6, 2), nn.Sequential(nn.Linear(6, 3), nn.BatchNorm1d(3), nn.Dropout(0.5))
        self.head = nn.Linear(5, 1)

    def forward(self, batch):
        x = batch["x"]
        frames = Masked(x.unsqueeze(1), torch.ones(len(x), 1, dtype=torch.bool, device=x.device))
        return {"a": self.a(x), "b": self.b(x), "frames": frames}

    def predict(self, variables):
        return self.head(torch.cat([variables["a"], variables["b"]], 1)).squeeze(1)


def batches(rows, size):
    return [{"x": part} for part in rows.split(size)]


def test_variables_and_predictions_are_those_of_the_whole_in_evaluation():
    model, rows = Toy(), torch.randn(23, 6)
    for _ in range(3):
        model({"x": torch.randn(50, 6) * 3 + 1})  # what the batch normalisation knows of
    variables, predictions = encode(model, batches(rows, 5)), predict(model, batches(rows, 5))
    assert model.training
    model.eval()
    assert variables.keys() == {"a", "b"}
    torch.testing.assert_close(variables["a"], model.a(rows))
    torch.testing.assert_close(variables["b"], model.b(rows))
    torch.testing.assert_close(predictions, model.head(torch.cat([model.a(rows), model.b(rows)], 1))[:, 0])


@pytest.mark.parametrize("size", [1, 2, 7, 100])
def test_what_comes_out_does_not_depend_on_the_batch_size(size):
    model, rows = Toy(), torch.randn(23, 6)
    whole, parts = encode(model, batches(rows, 23)), encode(model, batches(rows, size))
    torch.testing.assert_close(parts, whole)
    torch.testing.assert_close(predict(model, batches(rows, size)), predict(model, batches(rows, 23)))


@pytest.mark.parametrize("call", [encode, predict])
def test_the_model_is_left_as_it_was(call):
    model = Toy()
    model.b[1].eval()  # a part whose mode is not that of the whole
    model.a.requires_grad_(False)
    model.predict(model({"x": torch.randn(9, 6)})).sum().backward()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    gradients = {name: None if p.grad is None else p.grad.clone() for name, p in model.named_parameters()}
    flags = [p.requires_grad for p in model.parameters()]
    modes = [m.training for m in model.modules()]
    rows, narrow = torch.randn(9, 6), torch.randn(4, 5)
    random = torch.get_rng_state()

    def check():
        assert [m.training for m in model.modules()] == modes
        assert [p.requires_grad for p in model.parameters()] == flags
        assert torch.is_grad_enabled()
        assert torch.equal(torch.get_rng_state(), random)
        for name, value in model.state_dict().items():
            assert torch.equal(value, state[name])
        for name, parameter in model.named_parameters():
            wanted = gradients[name]
            assert parameter.grad is None if wanted is None else torch.equal(parameter.grad, wanted)

    result = call(model, batches(rows, 4))
    assert not any(t.requires_grad for t in (result.values() if call is encode else [result]))
    check()
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        call(model, [{"x": rows}, {"x": narrow}])
    check()


def test_what_was_encoded_can_be_learned_from():
    rows = encode(Toy(), batches(torch.randn(9, 6), 4))["a"]
    nn.Linear(2, 1)(rows).sum().backward()  # an inference tensor would raise


@pytest.mark.parametrize(
    ("dtype", "wanted"),
    [
        (torch.float16, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
        (torch.int64, torch.int64),
        (torch.bool, torch.bool),
    ],
)
def test_half_precision_becomes_single_and_nothing_else_changes(dtype, wanted):
    class Cast(nn.Module):
        def forward(self, batch):
            return {"x": batch.to(dtype)}

        def predict(self, variables):
            return variables["x"]

    rows = torch.randint(2, (6, 2, 3))
    for result in (encode(Cast(), rows.split(4))["x"], predict(Cast(), rows.split(4))):
        assert result.dtype == wanted
        assert torch.equal(result, rows.to(wanted))


def test_a_loader_of_recordings_is_read_in_order():
    class Model(nn.Module):
        def forward(self, batch):
            return {"Y": batch.labels.unsqueeze(1), "A": batch.sequences["audio"]}

        def predict(self, variables):
            return variables["Y"].squeeze(1)

    recordings = synthetic_recordings()["valid"]
    dataset = RecordingDataset(recordings, tiny_backbone(recordings.text, hidden_size=8, layers=1, heads=1)[1])
    assert torch.equal(predict(Model(), loader(dataset)), torch.as_tensor(dataset.labels, dtype=torch.float32))
    assert encode(Model(), loader(dataset)).keys() == {"Y"}


def test_wrapped_models_run_as_the_bare_one(tmp_path):
    model, rows = Toy(), torch.randn(9, 6)
    wanted = predict(model, batches(rows, 4))
    assert torch.equal(predict(torch.compile(model, backend="eager"), batches(rows, 4)), wanted)
    torch.distributed.init_process_group("gloo", f"file://{tmp_path / 'meeting'}", rank=0, world_size=1)
    try:
        distributed = DistributedDataParallel(model)
        assert torch.equal(predict(distributed, batches(rows, 4)), wanted)
        assert torch.equal(encode(distributed, batches(rows, 4))["a"], encode(model, batches(rows, 4))["a"])
    finally:
        torch.distributed.destroy_process_group()


def test_precision_stays_that_of_the_accelerator():
    model, rows = Toy(), torch.randn(9, 6)
    exact = predict(model, batches(rows, 4))
    prepared = accelerator_for("cpu", "bf16").prepare(Toy())
    prepared.load_state_dict(model.state_dict())
    rounded = predict(prepared, batches(rows, 4))
    assert rounded.dtype == torch.float32
    torch.testing.assert_close(rounded, exact, rtol=0.05, atol=0.05)


@pytest.mark.cuda
def test_batches_go_where_the_model_is_and_results_come_back(cuda):
    model, rows = Toy(), torch.randn(9, 6)
    wanted = predict(model, batches(rows, 4))
    given = predict(model.to(cuda), DataLoader(rows, 4, collate_fn=lambda rows: {"x": torch.stack(rows)}))
    assert given.device.type == "cpu"
    torch.testing.assert_close(given, wanted, rtol=1e-4, atol=1e-4)


def test_progress_is_shown_on_demand_alone(capsys):
    predict(Toy(), batches(torch.randn(9, 6), 4))
    assert capsys.readouterr().err == ""
    predict(Toy(), batches(torch.randn(9, 6), 4), progress=True)
    assert "3/3" in capsys.readouterr().err


class Odd(nn.Module):
    def forward(self, batch):
        return batch

    def predict(self, variables):
        return variables["a"].squeeze()


@pytest.mark.parametrize(
    ("call", "given", "message"),
    [
        (encode, iter(()), "expected at least one batch, got none (a generator can be read only once)"),
        (predict, [], "expected at least one batch, got none (a generator can be read only once)"),
        (
            encode,
            [{"a": torch.ones(2), "b": torch.ones(2)}, {"b": torch.ones(2)}],
            "expected the variables a, b of every batch, got b of batch 1",
        ),
        (encode, [{}, {"b": torch.ones(2)}], "expected the variables none of every batch, got b of batch 1"),
        (encode, [{"a": torch.tensor(1.0)}], "expected 'a' to be of shape (N, ...), got a scalar"),
        (
            predict,
            [{"a": torch.ones(2, 1)}, {"a": torch.ones(1, 1)}],
            "expected 'prediction' to be of shape (N, ...), got a scalar",
        ),
    ],
)
def test_what_cannot_be_put_together_is_refused(call, given, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        call(Odd(), given)


def test_a_model_that_predicts_nothing_is_refused_before_it_runs():
    with pytest.raises(AttributeError, match="'Linear' object has no attribute 'predict'"):
        predict(nn.Linear(1, 1), iter([pytest.fail]))
