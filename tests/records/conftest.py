"""The synthetic records of the tests of reports."""

from tests.report.conftest import _record, attack, attacks, calibration, make, record

__all__ = ["_record", "attack", "attacks", "calibration", "make", "record"]
