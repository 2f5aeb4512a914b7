"""The command `tocsin`: each command parses its arguments, calls other packages, and prints."""
