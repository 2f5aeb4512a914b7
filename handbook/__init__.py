"""Makes the documentation site: `make site`. No part of what is installed."""
