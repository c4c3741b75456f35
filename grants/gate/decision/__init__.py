"""What is decided, and by what: values and functions of them, without I/O."""
