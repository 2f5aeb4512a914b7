"""The `tocsin` command: parse, call, print."""
