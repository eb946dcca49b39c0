"""Metrics, pipelines, a ledger and reports."""
