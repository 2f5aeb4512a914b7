"""How the modules of the client are made that `generate` writes."""
