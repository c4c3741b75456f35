"""How a call is decided on: values, and pure functions of them. No I/O, no clock."""
