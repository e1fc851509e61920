import pytest
import torch
from safetensors.torch import load_file

from disentangle.nn import LabelMemory
from disentangle.weights import load_weights, write_weights

F64 = torch.float64
SIZES = {"audio": 2, "text": 4}


def drawn(n=12):
    """Labels, one missing, and what a row of each modality is; some rows lack one."""
    y = torch.randn(n, dtype=F64)
    y[3] = torch.nan
    present = {m: torch.rand(n) < 0.8 for m in SIZES}
    return y, present


def features(n=12):
    return torch.randn(n, 3, dtype=F64), {m: torch.randn(n, size, dtype=F64) for m, size in SIZES.items()}


def length(vector):
    return sum(x * x for x in vector) ** 0.5


class Naive:
    """The same, row by row and number by number, in plain Python."""

    def __init__(self, y):
        self.y = y.tolist()
        self.own = {m: list(self.y) for m in SIZES}
        self.stored, self.times = {m: {} for m in ("joint", *SIZES)}, {m: [0] * len(y) for m in ("joint", *SIZES)}

    def relative_distance(self, name, f, stored, labels):
        sides = {-1: [], 1: []}
        for i, row in stored[name].items():
            label = labels[name][i]
            if label == label and label != 0:
                sides[1 if label > 0 else -1].append(row)
        if not sides[-1] or not sides[1]:
            return None
        middles = {
            side: [sum(column) / len(rows) for column in zip(*rows, strict=True)] for side, rows in sides.items()
        }
        far = {side: length([a - b for a, b in zip(f, middle, strict=True)]) for side, middle in middles.items()}
        return (far[-1] - far[1]) / (far[1] + 1e-8)

    def update(self, index, joint, own, present):
        stored = {m: dict(rows) for m, rows in self.stored.items()}
        labels = {"joint": list(self.y), **{m: list(values) for m, values in self.own.items()}}
        largest = max(abs(y) for y in self.y if y == y)
        for place, i in enumerate(index.tolist()):
            for m in SIZES:
                if not present[m][place]:
                    continue
                self.times[m][i] += 1
                f = own[m][place].tolist()
                r = self.relative_distance("joint", joint[place].tolist(), stored, labels)
                r_m = self.relative_distance(m, f, stored, labels)
                y, n = self.y[i], self.times[m][i]
                if n > 1 and y == y and r is not None and r_m is not None:
                    share = 0.5 * r**2 / (r**2 + 0.1**2)
                    new = share * r_m / r * y + (1 - share) * (y + r_m - r)
                    new = max(-largest, min(largest, new))
                    self.own[m][i] = (n - 1) / (n + 1) * self.own[m][i] + 2 / (n + 1) * new
                self.stored[m][i] = f
            self.stored["joint"][i] = joint[place].tolist()


def test_labels_are_those_of_the_formulas_row_by_row():
    y, present = drawn()
    memory, naive = LabelMemory(3, SIZES).double().start(y), Naive(y)
    for _ in range(4):
        joint, own = features()
        for index in torch.randperm(12).split(5):
            part = {m: x[index] for m, x in own.items()}
            has = {m: rows[index] for m, rows in present.items()}
            for each in (memory, naive):
                each.update(index, joint[index], part, has)
        for m in SIZES:
            expected = torch.tensor(naive.own[m], dtype=F64).nan_to_num()
            torch.testing.assert_close(memory.labels(m, torch.arange(12)), expected)
    moved = memory.labels("audio", torch.arange(12)) != y
    assert torch.equal(moved, present["audio"] | y.isnan())


def test_a_row_that_lacks_a_modality_keeps_its_label_whatever_stands_there():
    y, results = torch.tensor([1.0, -1.0, 2.0, -2.0], dtype=F64), []
    present = {"audio": torch.tensor([True, True, True, False])}
    joint, audio = torch.randn(3, 4, 3, dtype=F64), torch.randn(3, 4, 2, dtype=F64)
    for content in (0.0, torch.nan):
        memory = LabelMemory(3, {"audio": 2}).double().start(y)
        for j, a in zip(joint, audio, strict=True):
            lacking = torch.where(present["audio"][:, None], a, content)
            memory.update(torch.arange(4), j, {"audio": lacking}, present)
        results.append(memory.labels("audio", torch.arange(4)))
    torch.testing.assert_close(results[1], results[0], atol=0, rtol=0)
    assert results[0][3] == y[3]
    assert (results[0][:3] != y[:3]).all()


@pytest.mark.parametrize("distance", [0.0, 1e-6, -1e-6])
def test_where_joint_features_stand_between_both_sides_the_difference_alone_counts(distance):
    """The published quotient would be the largest label, of one sign or the other."""
    y = torch.tensor([1.0, -1.0, 0.5])
    joint = torch.tensor([[2.0], [-1.0], [distance]])  # the centroids are 1 and -1
    audio = torch.tensor([[2.0], [-1.0], [0.1]])  # 1.05 and -1
    memory = LabelMemory(1, {"audio": 1}).start(y)
    memory.update(torch.arange(3), joint, {"audio": audio})
    memory.update(torch.tensor([2]), joint[2:], {"audio": audio[2:]})
    generated = 0.5 + (1.1 - 0.95) / 0.95
    assert memory.labels("audio", torch.tensor([2])).item() == pytest.approx(0.5 / 3 + 2 / 3 * generated, abs=1e-4)


def test_rows_of_one_side_alone_keep_their_labels():
    memory = LabelMemory(3, SIZES).start(torch.tensor([1.0, 2.0, 0.0, -1.0]))
    for _ in range(3):
        joint, own = features(3)
        memory.update(torch.arange(3), joint, own)
    assert memory.labels("audio", torch.arange(3)).tolist() == [1.0, 2.0, 0.0]


def test_the_middle_of_ratings_is_their_mean():
    """Ratings of 1 to 5 get the labels that -2 to 2 get, and 3 more."""
    y, results = torch.tensor([1.0, 2.0, 4.0, 5.0]), []
    inputs = [features(4) for _ in range(3)]
    for shift in (0.0, -3.0):
        memory = LabelMemory(3, SIZES).start(y + shift)
        for joint, own in inputs:
            memory.update(torch.arange(4), joint, own)
        results.append(memory.labels("text", torch.arange(4)) - shift)
    torch.testing.assert_close(*results)
    assert (results[0] != y).any()


def test_mixed_precision_changes_nothing_but_the_features_that_are_given():
    y, results = torch.randn(64), []
    inputs = [(torch.randn(64, 3), {m: torch.randn(64, size) for m, size in SIZES.items()}) for _ in range(3)]
    for enabled in (False, True):
        memory = LabelMemory(3, SIZES).start(y)
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            for joint, own in inputs:
                memory.update(torch.arange(64), joint, own)
        results.append(memory.labels("text", torch.arange(64)))
    assert torch.equal(*results)


def test_a_memory_that_was_saved_goes_on_where_it_was(tmp_path):
    y, present = drawn()
    first = LabelMemory(3, SIZES).double().start(y)
    inputs = [features() for _ in range(4)]
    for joint, own in inputs[:2]:
        first.update(torch.arange(12), joint, own, present)
    write_weights(tmp_path / "memory.safetensors", first)
    again = LabelMemory(3, SIZES).double()  # which knows of no rows
    load_weights(again, load_file(tmp_path / "memory.safetensors"))
    for joint, own in inputs[2:]:
        for memory in (first, again):
            memory.update(torch.arange(12), joint, own, present)
    for m in SIZES:
        assert torch.equal(again.labels(m, torch.arange(12)), first.labels(m, torch.arange(12)))
    with pytest.raises(ValueError, match=r"expected a label memory of shape \(N, 7\), got \(12, 15\)"):
        LabelMemory(2, {"audio": 1}).load_state_dict(first.state_dict())


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="expected the sizes of one modality or more, got none"):
        LabelMemory(3, {})
    memory = LabelMemory(3, SIZES)
    with pytest.raises(ValueError, match="expected start to be called with the labels of training first"):
        memory.labels("text", torch.arange(2))
    with pytest.raises(ValueError, match=r"expected labels of shape \(N,\), NaN where there is none, got \(2, 1\)"):
        memory.start(torch.zeros(2, 1))
    with pytest.raises(ValueError, match="expected a label in one row or more, got none"):
        memory.start(torch.full((2,), torch.nan))
    memory.start(torch.tensor([1.0, 2.0]))
    with pytest.raises(ValueError, match=f"expected a modality among {', '.join(SIZES)}, got smell"):
        memory.labels("smell", torch.arange(2))
