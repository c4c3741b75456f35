"""What the gate knows and how it hears of it: the database, read and told."""
