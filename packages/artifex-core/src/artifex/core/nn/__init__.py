"""Blocks with no generative meaning that more than one family uses unchanged."""
