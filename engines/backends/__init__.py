"""Tensors in, tensors out: one file per inference library."""
