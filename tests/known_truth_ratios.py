"""Log density ratios log p(x, y) - log p(x) p(y) of the benchmark's tasks, a row: written anew, not read from it."""

import numpy as np
from scipy import interpolate, special, stats

normal = stats.norm.logpdf


def gaussian_ratio(mi, dim):
    rho2 = 1 - np.exp(-2 * mi / dim)

    def ratio(x, y):
        return (normal(y, np.sqrt(rho2) * x, np.sqrt(1 - rho2)) - normal(y)).sum(1)

    return ratio


def matrix_ratio(law, matrix, x_dim):
    def ratio(x, y):
        joint = law(matrix).logpdf(np.hstack([x, y]))
        margins = law(matrix[:x_dim, :x_dim]).logpdf(x) + law(matrix[x_dim:, x_dim:]).logpdf(y)
        return joint - margins

    return ratio


def t(dof):
    return lambda matrix: stats.multivariate_t(shape=matrix, df=dof)


def two_pairs(dim):
    matrix = np.eye(2 * dim)
    for i in range(2):
        matrix[i, dim + i] = matrix[dim + i, i] = 0.8
    return matrix


def undone(ratio, x_inverse, y_inverse=None):
    return lambda x, y: ratio(x_inverse(x), (y_inverse or x_inverse)(y))


def unspiralled(speed, i, j):
    def inverse(z):
        plane = (z[:, i] + 1j * z[:, j]) * np.exp(-1j * speed * np.linalg.norm(z, axis=1) ** 2)
        return np.column_stack([plane.real if k == i else plane.imag if k == j else z[:, k] for k in range(z.shape[1])])

    return inverse


def unrolled(x):
    return special.ndtri((np.linalg.norm(x, axis=1, keepdims=True) * 21 / (1.5 * np.pi) - 1) / 2)


def additive_ratio(width):
    def ratio(x, y):
        overlap = np.minimum(y + width, 1) - np.maximum(y - width, 0)
        return -np.log(overlap[:, 0])

    return ratio


def one_sign_ratio(rho):
    noise = np.sqrt(1 - rho**2)

    def ratio(x, y):
        plus, minus = (normal(y, s * rho * x, noise).sum(1) for s in (1, -1))
        return np.logaddexp(plus, minus) - np.log(2) - normal(y).sum(1)

    return ratio


def margin_of(conditional, ends, points):
    """log ∫ p(x) p(y|x) dx at `points` of y by Gauss-Legendre, and splines between them."""
    nodes, weights = np.polynomial.legendre.leggauss(600)
    half = (ends[1] - ends[0]) / 2
    values = conditional(ends[0] + half * (nodes + 1), points[:, None]) @ weights * half
    return interpolate.CubicSpline(points, np.log(values))


def regression_ratio(mean, noise, ends):
    def ratio(x, y):
        points = np.linspace(*ends, 1001)
        margin = margin_of(lambda a, b: np.exp(normal(a) + normal(b, mean(a), noise)), (-8, 8), points)
        return (normal(y, mean(x), noise) - margin(y))[:, 0]

    return ratio


def scale_ratio(log_scale, log_prior, dim):
    """y = scale e for a scale with density exp(log_prior) of its logarithm; p(y) is a function of the length of y."""

    def conditional(u, log_length):
        log_density = -dim / 2 * np.log(2 * np.pi) - dim * u - np.exp(2 * (log_length - u)) / 2
        return np.exp(log_prior(u) + log_density)

    def ratio(x, y):
        length = np.log(np.linalg.norm(y, axis=1))
        margin = margin_of(conditional, (-18, 9), np.linspace(length.min(), length.max(), 501))
        return normal(y, 0, np.exp(log_scale(x))).sum(1) - margin(length)

    return ratio


def product_ratio(x, y):
    return (normal(y, 0, np.abs(x)) - np.log(special.k0(np.abs(y)) / np.pi))[:, 0]


def proportional_ratio(x, y):
    margin = margin_of(lambda a, b: np.exp(normal(b, a, 0.2 * a)), (1, 2), np.linspace(-0.5, 5, 221))
    return (normal(y, x, 0.2 * x) - margin(y))[:, 0]


def absolute_ratio(x, y):
    """|x| + noise is skew-normal."""
    return (normal(y, np.abs(x), 0.3) - stats.skewnorm.logpdf(y, 1 / 0.3, scale=np.sqrt(1.09)))[:, 0]


def ring_ratio(noise):
    def ratio(x, y):
        r = np.hypot(x, y)[:, 0]
        joint = np.log(special.i0e(r / noise**2) / (2 * np.pi * noise**2)) - (r - 1) ** 2 / (2 * noise**2)
        grid = np.linspace(-1 - 8 * noise, 1 + 8 * noise, 301)
        margin = margin_of(lambda a, b: np.exp(normal(b, np.cos(a), noise)) / np.pi, (0, np.pi), grid)
        return joint - margin(x[:, 0]) - margin(y[:, 0])

    return ratio


def mixture_ratio(weights, means, covariances):
    parts = list(zip(weights, means, covariances, strict=True))

    def ratio(x, y):
        joint = sum(w * stats.multivariate_normal(m, c).pdf(np.hstack([x, y])) for w, m, c in parts)
        p_x, p_y = (sum(w * stats.norm.pdf(v, m[i], c[i][i] ** 0.5) for w, m, c in parts) for i, v in enumerate((x, y)))
        return np.log(joint / (p_x * p_y)[:, 0])

    return ratio


CROSSED = [0.3, 0.3, 0.4], [[-2, 0], [2, 0], [0, 2]], [[[1, 0.9], [0.9, 1]], [[1, -0.9], [-0.9, 1]], [[1, 0], [0, 1]]]
CLUSTERS = [0.2] * 5, [[0, 2], [1, 0], [2, 4], [3, 1], [4, 3]], [[[0.09, 0], [0, 0.09]]] * 5
RATIOS = {
    "gaussian d=1 mi=2": gaussian_ratio(2, 1),
    "gaussian d=5 mi=8": gaussian_ratio(8, 5),
    "sparse normal 3x3": matrix_ratio(lambda m: stats.multivariate_normal(cov=m), two_pairs(3), 3),
    "dense normal 10x1": matrix_ratio(
        lambda m: stats.multivariate_normal(cov=m), np.full((11, 11), 0.5) + np.eye(11) / 2, 10
    ),
    "student identity 1x1 dof=1": matrix_ratio(t(1), np.eye(2), 1),
    "student identity 5x5 dof=2": matrix_ratio(t(2), np.eye(10), 5),
    "student sparse 3x3 dof=3": matrix_ratio(t(3), two_pairs(3), 3),
    "student dense 3x3 dof=2": matrix_ratio(t(2), np.full((6, 6), 0.5) + np.eye(6) / 2, 3),
    "uniform margins d=3 mi=2": undone(gaussian_ratio(2, 3), special.ndtri),
    "additive uniform noise 0.1 d=1": additive_ratio(0.1),
    "additive uniform noise 0.25 d=1": additive_ratio(0.25),
    "additive uniform noise 0.75 d=1": additive_ratio(0.75),
    "cubic of gaussian d=1 mi=2": undone(gaussian_ratio(2, 1), np.cbrt),
    "half-cube of student identity 1x1 dof=1": undone(
        matrix_ratio(t(1), np.eye(2), 1), lambda z: np.sign(z) * np.abs(z) ** (2 / 3)
    ),
    "asinh of student identity 3x3 dof=2": undone(matrix_ratio(t(2), np.eye(6), 3), np.sinh),
    "normal cdf of student identity 1x1 dof=5": undone(
        matrix_ratio(t(5), np.eye(2), 1), lambda u: np.minimum(special.ndtri(u), 8.3)
    ),
    "swiss roll mi=2": undone(gaussian_ratio(2, 1), unrolled, special.ndtri),
    "swiss roll mi=0.5": undone(gaussian_ratio(0.5, 1), unrolled, special.ndtri),
    "spiral of sparse normal 3x3": undone(
        matrix_ratio(lambda m: stats.multivariate_normal(cov=m), two_pairs(3), 3),
        unspiralled(1 / 3, 0, 1),
        unspiralled(-1 / 3, 1, 2),
    ),
    "spiral of sparse normal 2x2": undone(
        matrix_ratio(lambda m: stats.multivariate_normal(cov=m), two_pairs(2), 2),
        unspiralled(1 / 3, 0, 1),
        unspiralled(-1 / 3, 0, 1),
    ),
    "gaussian d=1 mi=2 padded by 15": undone(gaussian_ratio(2, 1), lambda x: x[:, :1]),
    "random sign d=1 rho=0.99": one_sign_ratio(0.99),
    "one random sign d=3 rho=0.9": one_sign_ratio(0.9),
    "|x| and noise 0.3": absolute_ratio,
    "x² and noise 0.5": regression_ratio(np.square, 0.5, (-4, 45)),
    "cos(pi x) and noise 0.3": regression_ratio(lambda x: np.cos(np.pi * x), 0.3, (-3, 3)),
    "ring with noise 0.1": ring_ratio(0.1),
    "ring with noise 0.3": ring_ratio(0.3),
    "product of x and noise 1x1": product_ratio,
    "product of x and noise 1x5": scale_ratio(
        lambda x: np.log(np.abs(x)), lambda u: np.log(2) + normal(np.exp(u)) + u, 5
    ),
    "volatility 1 1x1": scale_ratio(lambda x: x, normal, 1),
    "volatility 1 1x5": scale_ratio(lambda x: x, normal, 5),
    "noise in proportion 0.2 to x": proportional_ratio,
    "five clusters, spread 0.3": mixture_ratio(*CLUSTERS),
    "three crossed gaussians": mixture_ratio(*CROSSED),
    "contaminated gaussian": mixture_ratio([0.9, 0.1], np.zeros((2, 2)), [[[1, 0.9], [0.9, 1]], [[25, 0], [0, 25]]]),
}
