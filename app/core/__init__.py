"""The rules of the domain as pure functions: no I/O, no clock, no randomness, no logging."""
