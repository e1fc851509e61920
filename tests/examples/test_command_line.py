"""What is said of values that no option takes: the option they stand behind is blamed, and not a command."""

import mird_mosi
import pytest

from disentangle.experiments.options import parse


def said(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        mird_mosi.main([str(each) for each in arguments])
    assert stop.value.code == 2
    *_, last = capsys.readouterr().err.splitlines()
    return last.partition(": error: ")[2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--alpha", "0.1", "1"], "expected one value after --alpha, got 0.1 1"),
        (["--seed", "1", "--alpha", "0.1", "1"], "expected one value after --alpha, got 0.1 1"),
        (["--alpha", "1", "1", "--seed", "1"], "expected one value after --alpha, got 1 1"),
        (["--alpha", "0.1", "1", "2"], "expected one value after --alpha, got 0.1 1"),
        (["--epochs", "3", "evaluation"], "expected one value after --epochs, got 3 evaluation"),
        (["--group-by-length", "yes"], "expected no value after --group-by-length, got yes"),
        (["--no-input-mi", "0", "--seed", "0"], "expected no value after --no-input-mi, got 0"),
        (["--tracker", "tensorboard", "wandb"], "expected one value after --tracker, got tensorboard wandb"),
        (["--data", "my", "set.pkl"], 'expected one value after --data, got my set.pkl; as one, "my set.pkl"'),
        (["train"], "expected options, or evaluate, predict, export or push, got train"),
        (["predict", "--run", "r", "--json", "yes"], "expected no value after --json, got yes"),
        (["predict", "--run", "r", "--text", "so", "good"], 'expected one value after --text, got so good; as one, "so good"'),
        (["evaluate", "--run", "r", "s"], 'expected one value after --run, got r s; as one, "r s"'),
        (["--alhpa", "0.1"], "unknown option --alhpa"),
        (["predict", "--run", "r", "--penalty", "club"], "unknown option --penalty"),
        (["--alpha", "much"], "argument --alpha: invalid float value: 'much'"),
        (["--penalty", "clubs"], "argument --penalty: invalid choice: 'clubs' (choose from"),
        (["--alpha"], "argument --alpha: expected one argument"),
        (["evaluate"], "the following arguments are required: --run"),
        (["--data", "x", "evaluate", "--run", "r"], "expected the options of evaluate behind it, got --data before it"),
        (["--resume", "r", "--epochs", "5"], "expected --resume alone, by whose own options the run goes on, got --epochs as"),
        (["--seeds=0", "--resume", "r"], "expected --resume alone, by whose own options the run goes on, got --seeds as well"),
        (["--epochs", "0"], "argument --epochs: expected a whole number of at least 1, got 0"),
        (["--epochs", "1.5"], "argument --epochs: expected a whole number of at least 1, got 1.5"),
        (["--accumulation", "0"], "argument --accumulation: expected a whole number of at least 1, got 0"),
        (["--seed", "-1"], "argument --seed: expected a whole number from 0 to 4294967295, got -1"),
        (["--seed", "9" * 23], "argument --seed: expected a whole number from 0 to 4294967295, got 99999999999999999999999"),
        (["--seeds", "0", str(2**32)], "argument --seeds: expected a whole number from 0 to 4294967295, got 4294967296"),
        (["--max-words", "0"], "argument --max-words: expected a whole number of at least 1, got 0"),
        (["--clip-norm", "-1"], "argument --clip-norm: expected a number above 0, got -1"),
        (["--lr", "nan"], "argument --lr: expected a number of at least 0, got nan"),
        (["--lr", "inf"], "argument --lr: expected a number of at least 0, got inf"),
        (["--weight-decay", "-1"], "argument --weight-decay: expected a number of at least 0, got -1"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)  # fmt: skip
def test_left_over_values(capsys, arguments, message):
    assert said(capsys, *arguments).startswith(message)


def test_what_is_right_is_still_right():
    options = parse(mird_mosi.EXPERIMENT, ["--alpha", "0.1", "--seeds", "0", "1", "--tracker", "a", "--tracker", "b"])
    assert (options.alpha, options.seeds, options.tracker, options.command) == (0.1, [0, 1], ["a", "b"], None)
    assert parse(mird_mosi.EXPERIMENT, ["--weight-decay", "0", "--lr", "1e-3"]).lr == 1e-3
    options = parse(mird_mosi.EXPERIMENT, ["predict", "--run", "r", "--text", "so good", "--like", "mmsa"])
    assert (options.command, options.text, options.like) == ("predict", "so good", "mmsa")
