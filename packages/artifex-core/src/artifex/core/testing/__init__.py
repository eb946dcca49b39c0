"""The conformance kit, oracles with closed forms, and the pytest plugin that brings them."""
