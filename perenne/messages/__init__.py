"""What crosses a process boundary: frozen dataclasses, and nothing else."""
