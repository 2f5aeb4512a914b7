"""Names, addresses and TLS of everything that goes out."""
