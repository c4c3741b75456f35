"""The identity providers as the rest of Stint uses them: reading people, giving and taking roles."""
