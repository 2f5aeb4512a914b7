"""Measurements of Tocsin beside bare ceilings and its peers; see benchmarks/README.md."""
