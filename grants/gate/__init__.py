"""The gate: what stands before the orchestrators and lets exactly the granted calls through. Free of Django."""
