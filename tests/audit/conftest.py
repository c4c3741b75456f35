from tests.gate.doors.test_process import upstream  # noqa: F401 (a fixture: what stands behind a gate)
