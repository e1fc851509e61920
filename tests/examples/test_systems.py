"""What holds for every system that is rebuilt here: it can learn, its masks hold, and what a row lacks leaves no trace."""

import copy
from argparse import Namespace
from dataclasses import replace

import dlf
import gpfn_style
import graphcage
import lmf
import lmr_cbt
import mag_bert
import mfsa_style
import mird_mosi
import misa
import mult
import numpy as np
import pmr
import pytest
import self_mm
import text_only
import tfn
import torch
import tsd_style
import wsa_bert
from torch import nn

from disentangle import AlternatingStep
from disentangle.data import RecordingDataset, Recordings, collate, synthetic_recordings
from disentangle.experiments.options import method_defaults
from disentangle.nn import sinusoidal_positions
from disentangle.nn.backbones import tiny_backbone
from disentangle.tasks import task_of
from disentangle.variables import Masked

from .conftest import content

SYSTEMS = {  # with what makes them small
    mag_bert: {},
    wsa_bert: {"dropout": 0.0},
    tfn: {"d": 8, "text_d": 16},
    lmf: {},
    self_mm: {},
    mult: {"d": 8, "layers": 1, "heads": 2, "dropout": 0.0, "step_dropout": 0.0},
    pmr: {"d": 8, "cycles": 1, "heads": 2, "dropout": 0.0, "attention_dropout": 0.0, "step_dropout": 0.0},
    lmr_cbt: {"d": 8, "layers": 1, "heads": 2, "dropout": 0.0, "step_dropout": 0.0},
    graphcage: {"d": 32, "layers": 1, "heads": 2, "vertices": 4, "dropout": 0.0, "step_dropout": 0.0},
    gpfn_style: {"d": 32, "layers": 1, "clusters": (4, 2), "dropout": 0.0},
    mfsa_style: {"d": 8, "vector_d": 8, "layers": 1, "heads": 1, "dropout": 0.0},
    dlf: {"d": 8, "layers": 1, "heads": 1, "dropout": 0.0},
    tsd_style: {"d": 8, "heads": 2, "dropout": 0.0},
}
every_system = pytest.mark.parametrize("system", SYSTEMS, ids=lambda system: system.__name__)


def built(system, train):
    """A system on a small backbone, prepared for training, and the rows of its training split."""
    torch.manual_seed(0)
    backbone, tokenizer = tiny_backbone(train.text, hidden_size=16, layers=2, heads=2)
    model = system.EXPERIMENT.build(
        backbone=backbone, sizes=train.feature_sizes, task=task_of(train.labels), **SYSTEMS[system]
    )
    system.EXPERIMENT.prepare(model, train)
    dataset = RecordingDataset(train, tokenizer)
    return model, [dataset[i] for i in range(len(dataset))]


@every_system
def test_it_learns_32_rows_by_heart(system):
    train = synthetic_recordings((32, 2, 2))["train"]
    train = replace(train, sequences={m: [x[:8] for x in frames] for m, frames in train.sequences.items()})
    model, rows = built(system, train)
    batch, objective = collate(rows), system.EXPERIMENT.objective(Namespace(**method_defaults(system.EXPERIMENT)))
    optimizer, variance = torch.optim.Adam(model.parameters(), 3e-3, fused=True), train.labels.var()
    for _ in range(60):
        losses = model.losses(model(batch), batch)
        if losses["Y"].mean() < 0.02 * variance:
            break
        optimizer.zero_grad()
        objective(losses, {}).backward()
        optimizer.step()
    with torch.no_grad():
        error = (model.eval().predict(model(batch)) - batch.labels).square().mean()
    assert error < 0.05 * variance


def lacking(n=6):
    """Rows of which some lack audio, some vision, some text."""
    split = content(n, 0)
    frames = {m: [x[x.any(1)] for x in split[m]] for m in ("audio", "vision")}
    return Recordings(split["raw_text"], frames, split["regression_labels"].astype(np.float32))


def double(batch):
    sequences = {m: Masked(x.values.double(), x.mask) for m, x in batch.sequences.items()}
    return replace(batch, sequences=sequences, labels=batch.labels.double(), labeled=batch.labeled.double())


def padded(batch, steps):
    """The batch with more padding behind its tokens and frames, in which anything may stand."""

    def longer(x, value):
        return torch.cat([x, x.new_full((len(x), steps, *x.shape[2:]), value)], 1)

    filling = {"input_ids": 7, "attention_mask": 0, "special_tokens_mask": 1}
    return replace(
        batch,
        tokens={name: longer(ids, filling[name]) for name, ids in batch.tokens.items()},
        words=Masked(longer(batch.words.values, 7), longer(batch.words.mask, False)),
        sequences={m: Masked(longer(x.values, torch.nan), longer(x.mask, False)) for m, x in batch.sequences.items()},
    )


def results(model, batch):
    """The predictions, and the gradient of each parameter; the model in training, its dropout not."""
    model = copy.deepcopy(model).eval()
    model.training = True
    variables = model(batch)
    sum(rows.mean() for rows in model.losses(variables, batch).values()).backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return {"prediction": model.predict(variables).detach(), **gradients}


@every_system
def test_padding_changes_neither_values_nor_gradients(system):
    model, rows = built(system, lacking())
    model, batch = model.double().eval(), double(collate(rows))
    before = results(model, batch)
    for steps in (1, 5):
        after = results(model, padded(batch, steps))
        assert after.keys() == before.keys()
        for name, value in before.items():
            torch.testing.assert_close(after[name], value, msg=name)


def prediction(model, rows):
    with torch.no_grad():
        return model.predict(model(double(collate(rows))))


@every_system
def test_a_row_is_predicted_as_if_it_were_alone(system):
    """In a batch by itself, what it lacks has no frame, and no other row has one."""
    model, rows = built(system, lacking())
    model.double().eval()
    alone = torch.cat([prediction(model, [row]) for row in rows])
    torch.testing.assert_close(alone, prediction(model, rows))


@pytest.mark.parametrize(
    ("system", "option"),
    [(wsa_bert, {"attention": "softmax"}), (wsa_bert, {"pooling": "mean"}), (gpfn_style, {"edges": "similarity"})],
    ids=lambda each: each.__name__ if hasattr(each, "__name__") else next(iter(each)),
)
def test_the_masks_hold_with_other_options(system, option, monkeypatch):
    monkeypatch.setitem(SYSTEMS, system, SYSTEMS[system] | option)
    test_padding_changes_neither_values_nor_gradients(system)
    test_a_row_is_predicted_as_if_it_were_alone(system)


@pytest.mark.parametrize(
    ("system", "modality"),
    [
        (each, m)
        for each in SYSTEMS
        for m in ("text", "audio", "vision")
        if m != "text" or each not in (mag_bert, wsa_bert)
    ],
)  # words carry what these two inject: where a row has none, its special tokens do
def test_what_reads_a_modality_has_no_say_in_rows_that_lack_it(system, modality):
    model, rows = built(system, lacking())
    model.double().eval()
    has, before = collate(rows).present[modality], prediction(model, rows)
    assert has.any()
    assert not has.all()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parts = name.split(".")
            if {modality, "backbone" if modality == "text" else modality} & set(parts) and parts[0] != "fusion":
                parameter.add_(torch.randn_like(parameter))
    changed = prediction(model, rows) != before
    assert torch.equal(changed, has)


@every_system
def test_everything_that_can_learn_does(system):
    """LMF's published optimiser leaves out two tensors."""
    model, rows = built(system, lacking())
    batch, before = collate(rows), {name: p.clone() for name, p in model.named_parameters()}
    optimizer = system.EXPERIMENT.optimizer(model, Namespace(**system.EXPERIMENT.defaults))
    for _ in range(3):  # what a 0 is multiplied by has no gradient at first
        sum(loss.mean() for loss in model.losses(model(batch), batch).values()).backward()
        optimizer.step()
    assert [name for name, p in model.named_parameters() if torch.equal(p, before[name])] == []


@pytest.mark.parametrize("system", [*SYSTEMS, misa, text_only, mird_mosi], ids=lambda system: system.__name__)
def test_no_step_waits_for_a_device(system, no_values, monkeypatch):
    for more in (misa, text_only, mird_mosi):
        monkeypatch.setitem(SYSTEMS, more, {})
    step_without_values(system, lacking(), no_values)


def test_no_step_of_the_independent_preset_waits_for_a_device(no_values, monkeypatch):
    monkeypatch.setitem(SYSTEMS, mird_mosi, mird_mosi.INDEPENDENT)
    step_without_values(mird_mosi, lacking(), no_values, alpha=0.2)


def step_without_values(system, train, device, **options):
    """Steps of a system, on any device on which nothing can be read."""
    experiment = system.EXPERIMENT
    model, rows = built(system, train)
    options = Namespace(
        **{"alpha": 0.1, **{k: v for k, v in method_defaults(experiment).items() if v is not None}, **options}
    )
    model.to(device)
    penalty = experiment.penalty(model, options)
    if penalty is not None:
        penalty.to(device)
    learns = penalty is not None and list(penalty.parameters())
    step = AlternatingStep(
        model,
        penalty,
        objective=experiment.objective(options),
        optimizer=torch.optim.Adam(model.parameters()),
        penalty_optimizer=torch.optim.Adam(learns) if learns else None,
    )
    batch = collate(rows).to(device)
    for _ in range(2):  # the second has the momentum and the statistics of the first
        loss = step(batch).losses["Y"].mean()
    with pytest.raises(RuntimeError, match="meta"):
        loss.item()


def test_tfn_refuses_more_products_than_memory_holds():
    backbone, _ = tiny_backbone(["so good"], hidden_size=16, layers=2)
    sizes = dict.fromkeys(("audio", "vision", "gaze", "pulse"), 5)
    with pytest.raises(
        ValueError, match=r"at most 1e\+09 weights, got text and 4 others, 4\.9e\+09 weights: lmf\.py has"
    ):
        tfn.TFN(backbone, sizes, task_of(np.array([0.3, 1.7, -2.0])))


@pytest.mark.parametrize("unit", [1.0, 1000.0])
def test_tfn_predicts_numbers_within_their_range_if_it_shall(unit):
    train = replace(lacking(), labels=unit * np.array([-1.0, 1.0, 2.0, 4.0, 0.5, 3.5], np.float32))
    backbone, tokenizer = tiny_backbone(train.text, hidden_size=16, layers=2, heads=2)
    dataset, task = RecordingDataset(train, tokenizer), task_of(train.labels)
    model = tfn.TFN(backbone, train.feature_sizes, task, bounded=True, d=2, text_d=2).double().eval()
    rows = [dataset[i] for i in range(len(dataset))]
    within = task.outcomes(prediction(model, rows))
    with torch.no_grad():
        torch.nn.init.constant_(model.head[-1].bias, 50.0)
    np.testing.assert_allclose(task.outcomes(prediction(model, rows)), np.full((6, 1), 4 * unit), rtol=1e-6)
    assert ((within > -unit) & (within < 4 * unit)).all()
    with pytest.raises(ValueError, match="expected task regression where predictions are bounded, got binary"):
        tfn.TFN(backbone, train.feature_sizes, task_of(np.array([0.0, 1.0])), bounded=True)


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_wsa_bert_reads_the_first_token_or_the_words(pooling):
    model, rows = built(wsa_bert, lacking())
    model.eval().pooling, batch, seen = pooling, collate(rows), {}
    model.words.backbone.encoder.layer[-1].register_forward_hook(lambda layer, args, out: seen.update(states=out))
    model.words.output.register_forward_hook(lambda layer, args, out: seen.update(read=args[0]))
    model(replace(batch, lengths=torch.full_like(batch.lengths, 9)))  # of one length: all rows run together
    states = seen["states"][0] if isinstance(seen["states"], tuple) else seen["states"]
    read = batch.present["text"] if pooling == "mean" else torch.ones(6, dtype=torch.bool)
    words = Masked(states, ~batch.tokens["special_tokens_mask"].bool()).mean()
    torch.testing.assert_close(seen["read"][read], (states[:, 0] if pooling == "cls" else words)[read])


def test_wsa_bert_attends_to_all_frames_by_a_softmax_if_it_shall():
    attention = wsa_bert.WordwiseAttention(6, 3, 4).double()
    words, values = torch.randn(3, 2, 6, dtype=torch.float64), torch.randn(3, 5, 3, dtype=torch.float64)
    mask = torch.tensor([[True] * 5, [True, True, False, False, False], [False] * 5])
    found = attention(words, torch.where(mask.unsqueeze(2), values, torch.nan), mask)
    for row, frames in ((0, values[0]), (1, values[1, :2])):
        scores = attention.words(words[row]) @ attention.frames(frames).T
        torch.testing.assert_close(found[row], scores.softmax(1) @ frames)
    assert not found[2].any()


def test_soft_assignment_keeps_all_edges_whatever_the_order_of_nodes():
    pool = gpfn_style.SoftAssignment(4, 3).double()
    mask, order = torch.tensor([[True, True, False, True, True]]), torch.tensor([3, 0, 2, 4, 1])
    values, weights = torch.randn(1, 5, 4, dtype=torch.float64), torch.rand(1, 5, 5, dtype=torch.float64)
    adjacency = weights * mask.unsqueeze(1) * mask.unsqueeze(2)
    clusters, edges = pool(Masked(values, mask), adjacency)
    torch.testing.assert_close(edges.sum(), adjacency.sum())
    again = pool(Masked(values[:, order], mask[:, order]), adjacency[:, order][:, :, order])
    torch.testing.assert_close(again, (clusters, edges))


def stepped(pieces):
    """Self-MM after three steps, each with the same rows in so many pieces."""
    model, rows = built(self_mm, lacking(8))
    optimizer = torch.optim.SGD(model.double().parameters(), 0.01)
    step = AlternatingStep(model.eval(), None, objective=self_mm.EXPERIMENT.objective(None), optimizer=optimizer)
    model.training = True  # its dropout is not
    size = len(rows) // pieces
    for _ in range(3):
        step(*(double(collate(rows[start : start + size])) for start in range(0, len(rows), size)))
    return model


def test_the_labels_of_self_mm_are_the_same_in_pieces_at_first_and_move_once_a_step():
    whole, pieces = stepped(1), stepped(4)
    assert whole.memory is not None
    assert pieces.memory is not None
    assert torch.equal(pieces.memory.seen, whole.memory.seen)
    assert whole.memory.seen[:, 0].tolist() == [3] * 8
    assert (whole.memory.kept[:, 1:] != whole.memory.kept[:, :1]).any()


def test_self_mm_learns_the_given_labels_of_each_modality_where_they_are_no_numbers():
    train = replace(lacking(), labels=np.array([0, 1, 0, 1, 1, 0], np.float32))
    model, rows = built(self_mm, train)
    model.training, batch = True, collate(rows)
    variables = model(batch)
    losses = model.losses(variables, batch)
    assert model.memory is None
    expected = model.task.loss(model.heads["audio"](variables["audio"]).squeeze(1), batch.labels, batch.labeled)
    torch.testing.assert_close(losses["Y_audio"].values, expected.values)
    assert torch.equal(losses["Y_audio"].weights.bool(), batch.present["audio"])


def test_encoders_of_mfsa_style_fool_one_discriminator_where_the_other_is_unsure():
    model, rows = built(mfsa_style, lacking())
    batch = collate(rows)
    variables = model.eval()(batch)
    losses, agnostic = model.losses(variables, batch), variables["C_audio"]
    first, second = (each.network(agnostic) for each in (model.assign, model.weigh))
    counted = second.softmax(1)[:, [0, 2]].sum(1).detach() * (
        first.logsumexp(1) - first[:, 1]
    )  # audio is the second name
    torch.testing.assert_close(losses["agnostic_audio"].values, counted)
    wanted, opposed = (
        torch.autograd.grad(loss.sum(), [agnostic, *model.assign.parameters()], retain_graph=True)
        for loss in (counted, losses["agnostic_audio"].values)
    )
    torch.testing.assert_close(opposed, (-wanted[0], *wanted[1:]))
    assert torch.autograd.grad(losses["counts_audio"].values.sum(), agnostic, allow_unused=True) == (None,)


def test_in_the_fusion_of_tsd_style_each_vector_attends_to_the_others_that_a_row_has():
    fusion = tsd_style.GatedCrossAttention(4, heads=1, dropout=0.0).double()
    vectors = torch.randn(4, 3, 4, dtype=torch.float64)
    has = torch.tensor([[True, True, True], [True, False, True], [False, True, False], [False, False, False]])
    attention = fusion.attention
    for row, there, fused in zip(vectors, has, fusion(vectors, has), strict=True):
        own, found = row[there], []
        queries, keys, values = (own @ attention.in_proj_weight.T + attention.in_proj_bias).chunk(3, 1)
        for i, query in enumerate(queries):
            others = [j for j in range(len(own)) if j != i]
            weights = torch.softmax(keys[others] @ query / 2, 0)
            found.append(attention.out_proj(weights @ values[others]) if others else torch.zeros_like(query))
        expected = torch.zeros(4, dtype=torch.float64)
        if len(own):
            attended = fusion.norm(own + torch.stack(found))
            expected = (fusion.gate(attended).softmax(0) * attended).sum(0)
        torch.testing.assert_close(fused, expected)
    vectors[~has] = torch.nan
    assert fusion(vectors, has).isfinite().all()


def test_without_words_dlf_predicts_from_what_is_shared_alone():
    model, rows = built(dlf, lacking())
    batch = collate(rows)
    variables = model.eval()(batch)
    before, has = model.predict(variables), batch.present["text"]
    private = {name: torch.randn_like(z) for name, z in variables.items() if name.startswith("P_")}
    assert torch.equal(model.predict({**variables, **private}) != before, has)
    for m in ("audio", "vision"):
        assert torch.equal(model.present(batch)[f"P_{m}"], has & batch.present[m])


@pytest.mark.parametrize("names", [("audio", "vision"), ()], ids=["with others", "text alone"])
def test_lmr_cbt_leaves_words_as_they_are_in_rows_without_other_modalities(names):
    train = lacking(12)
    train = replace(
        train, sequences={m: [x[: len(x) * (i > 0)] for i, x in enumerate(train.sequences[m])] for m in names}
    )
    model, rows = built(lmr_cbt, train)
    batch, found = double(collate(rows)), {}
    model.double().eval().norm["text"].register_forward_hook(lambda *call: found.update(words=call[2]))
    model.transformer["text"].register_forward_pre_hook(lambda _, given: found.update(read=given[0]))
    model(batch)
    read = found["read"]
    added = (
        read.values - sinusoidal_positions(Masked(found["words"], read.mask)).values
    )  # scaled as words are, by root d
    has = sum(x.mask.any(1) for x in batch.sequences.values()) > 0 if names else torch.zeros(12, dtype=torch.bool)
    assert (~has).sum() == (1 if names else 12)
    for row in range(12):
        sums = (added[row] / 8**0.5).sum(1)[read.mask[row]]  # a softmax sums to 1
        torch.testing.assert_close(sums, torch.full_like(sums, float(has[row])))
        assert has[row] or not added[row].any()


@pytest.mark.parametrize("system", [mag_bert, wsa_bert], ids=lambda system: system.__name__)
def test_what_moves_words_refuses_text_alone_and_says_where_to_go(system):
    backbone, _ = tiny_backbone(["so good"], hidden_size=16, layers=2, heads=2)
    with pytest.raises(ValueError, match=r"expected audio, vision or another modality.*got text alone.*text_only"):
        system.EXPERIMENT.build(backbone=backbone, sizes={}, task=task_of(np.array([-1.0, 2.0])))


@every_system
def test_labels_that_rows_do_not_have_reach_neither_losses_nor_penalties(system):
    model, rows = built(system, lacking())
    batch = collate([replace(row, label=None) if i % 3 == 1 else row for i, row in enumerate(rows)])
    filled = replace(batch, labels=torch.where(batch.has_label, batch.labels, 7.0))
    penalty = system.EXPERIMENT.penalty(model, Namespace(**method_defaults(system.EXPERIMENT)))
    parts = (
        {} if penalty is None else dict(penalty.eval()) if isinstance(penalty, nn.ModuleDict) else {"": penalty.eval()}
    )
    model.eval()
    for each in (batch, filled):
        torch.manual_seed(0)
        variables = model(each)
        losses = {name: (rows.values * rows.weights).sum() for name, rows in model.losses(variables, each).items()}
        values = {
            (name, pair): value
            for name, part in parts.items()
            for pair, value in part(variables, model.present(each)).items()
        }
        found = {**losses, **values}
        if each is batch:
            expected = found
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(found[name], value), name


@pytest.mark.parametrize("system", [dlf, tsd_style], ids=lambda system: system.__name__)
def test_every_loss_is_in_float32_under_autocast(system):
    model, rows = built(system, lacking())
    batch = collate(rows)
    with torch.autocast("cpu", torch.bfloat16):
        losses = model.losses(model(batch), batch)
    assert {name: rows.values.dtype for name, rows in losses.items()} == dict.fromkeys(losses, torch.float32)


def test_autocast_rounds_no_score_of_wordwise_attention():
    attention = wsa_bert.WordwiseAttention(8, 6)
    words, values, mask = 4 * torch.randn(2, 5, 8), 4 * torch.randn(2, 9, 6), torch.ones(2, 9, dtype=torch.bool)
    with torch.autocast("cpu", torch.bfloat16):
        low = attention(words, values, mask)
    torch.testing.assert_close(low, attention(words, values, mask))
