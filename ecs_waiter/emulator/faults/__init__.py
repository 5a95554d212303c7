"""Faults on demand: each kind of fault, and which requests it hits."""
