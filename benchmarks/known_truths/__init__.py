"""Pairs of variables whose mutual information is known: what an estimator of it is measured with."""
