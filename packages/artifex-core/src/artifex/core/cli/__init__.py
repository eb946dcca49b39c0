"""The `artifex` program: one small file a command."""
