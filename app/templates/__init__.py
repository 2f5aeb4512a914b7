"""Templates in targets: found, checked when written, and rendered in a process of their own."""
