#!/usr/bin/env python
"""Stint's command line: `manage.py help` lists the commands."""

import os
import sys

from django.core.management import execute_from_command_line
from django.db import InterfaceError, OperationalError

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
    try:
        execute_from_command_line(sys.argv)
    except (OperationalError, InterfaceError) as error:
        sys.exit(f"The database does not answer, or not as it should: {error}")
