"""Give and take back roles at identity providers, so that they match the live grants."""
