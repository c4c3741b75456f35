"""The gate: a proxy in front of the orchestrators that passes on exactly the calls that are granted. Free of Django."""
