"""Sets of jobs that files declare: how they are written, and what their application changes."""
