"""Makes the identity provider match what is wanted."""
