import csv
import io

import pytest
import torch
from torch import nn

from disentangle.experiments.studies.sizes import Size, Sizes, macs


def test_the_products_inside_of_recurrent_networks_and_attention_are_counted():
    lstm = nn.LSTM(7, 5, batch_first=True).eval()
    assert macs(lambda: lstm(torch.randn(1, 11, 7))) == 11 * 4 * 5 * (7 + 5)
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    projections, products = 11 * (4 * 8 * 8 + 2 * 8 * 16), 2 * 11 * 11 * 8
    assert macs(lambda: layer(torch.randn(1, 11, 8))) == projections + products


def test_sizes_stand_beside_what_was_published(tmp_path):
    table = Sizes(
        {"ours": Size(3_000_000, 20_000, 10**9, 2 * 10**9), "theirs": Size(1, 0, 1, 1)}, {"ours": (4e6, 1.5e9)}
    )
    assert "| ours | 3.0 | 4 | 0.02 | 1.00 | 1.5 | 2.00 |" in table.to_markdown()
    assert "| theirs | 0.0 | – | – | 0.00 | – | 0.00 |" in table.to_markdown()
    ours, theirs = csv.DictReader(io.StringIO(table.to_csv()))
    assert (ours["parameters"], theirs["published_macs"]) == ("3000000", "")
    table.save(tmp_path, "table2")
    assert (tmp_path / "table2.png").stat().st_size > 0


@pytest.mark.parametrize("n", [1, 2])
def test_counting_leaves_kernels_as_they_were(n):
    before = torch.backends.mha.get_fastpath_enabled(), torch._C._get_mkldnn_enabled()
    macs(lambda: torch.randn(n, 2) @ torch.randn(2, 2))
    assert (torch.backends.mha.get_fastpath_enabled(), torch._C._get_mkldnn_enabled()) == before
