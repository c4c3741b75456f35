"""The gate as a process: `python -m portal.gate`. Free of Django."""
