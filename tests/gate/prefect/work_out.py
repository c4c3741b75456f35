"""Run as a script: work out schedules as Prefect does, and tell of each which error it ended in, if any.

Steps are counted, not seconds: a schedule that takes more of them than `most` is "endless".
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta
from itertools import islice
from types import FrameType
from typing import Any

from prefect.server.schemas.actions import DeploymentScheduleCreate
from pydantic import ValidationError


class Endless(BaseException):
    """More lines of Python than a schedule may take."""


def worked_out(schedule: Any, most: int) -> str:
    """The first few times, as the scheduler asks for them."""
    left = [most]

    def count(_frame: FrameType, event: str, _of: Any) -> Any:
        left[0] -= event == "line"
        if left[0] < 0:
            raise Endless
        return count

    now = datetime.now(UTC)
    try:
        sys.settrace(count)
        list(islice(schedule._get_dates_generator(n=3, start=now, end=now + timedelta(days=100)), 3))
    except (Exception, Endless) as error:  # noqa: BLE001 (whatever it is, Prefect's scheduler would stop at it)
        return type(error).__name__
    finally:
        sys.settrace(None)
    return ""


def main() -> None:
    asked = json.load(sys.stdin)
    told = []
    for schedule in asked["schedules"]:
        try:
            made = DeploymentScheduleCreate.model_validate_json(json.dumps({"schedule": schedule}))
        except ValidationError:
            told.append("refused by Prefect")
            continue
        told.append(worked_out(made.schedule, asked["most"]))
    print(json.dumps(told))


if __name__ == "__main__":
    main()
