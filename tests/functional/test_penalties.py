import pytest
import torch

from disentangle import functional

F64 = torch.float64


def naive_orthogonality(x, y):
    """Eq. 9 by its definition, over N²."""
    return sum((x[i] * y[j]).sum() ** 2 for i in range(len(x)) for j in range(len(y))) / len(x) ** 2


@pytest.mark.parametrize(("n", "d"), [(3, 5), (8, 2)])  # both orders of summation
def test_orthogonality_equals_its_definition_in_values_and_gradients(n, d):
    inputs = [torch.randn(n, d, dtype=F64, requires_grad=True) for _ in range(2)]
    fast, slow = functional.orthogonality(*inputs), naive_orthogonality(*inputs)
    torch.testing.assert_close(fast, slow)
    for a, b in zip(torch.autograd.grad(fast, inputs), torch.autograd.grad(slow, inputs), strict=True):
        torch.testing.assert_close(a, b)


def test_orthogonality_does_not_depend_on_the_batch_size():
    x, y = torch.randn(5, 4, dtype=F64), torch.randn(5, 4, dtype=F64)
    torch.testing.assert_close(functional.orthogonality(x.repeat(7, 1), y.repeat(7, 1)), functional.orthogonality(x, y))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_inputs_are_reduced_in_float32(dtype):
    x, y = torch.randn(300, 8).to(dtype), torch.randn(300, 8).to(dtype)
    value = functional.orthogonality(x, y)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value.to(F64), functional.orthogonality(x.to(F64), y.to(F64)), rtol=1e-4, atol=1e-5)
