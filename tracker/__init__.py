"""Identities from boxes: arrays in, arrays out; numpy and scipy only."""
