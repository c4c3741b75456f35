"""The identity providers, as the rest of Stint uses them: who there is, and the roles that are given and taken."""
