"""`python -m app` is the `tocsin` command."""

from app.cli.start import main

if __name__ == "__main__":
    main("python -m app")
