"""Distributions, divergences and noise that more than one family uses."""
