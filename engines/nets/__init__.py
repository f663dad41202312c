"""Networks as torch modules, under the names of their reference code: checkpoints in, networks to export out."""
