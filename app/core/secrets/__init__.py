"""Secrets in targets: where they stand, masking, references by name, bindings to hosts."""
