"""How much of what everybody shares one caller may have."""
