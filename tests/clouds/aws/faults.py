"""What AWS says when it is asked for trouble."""

from __future__ import annotations

from clouds.aws.wire import AwsError
from clouds.faults import Fault, Faults

__all__ = ["BROKEN", "REFUSED", "THROTTLED", "Fault", "Faults"]

THROTTLED = AwsError("ThrottlingException", "Rate exceeded")
BROKEN = AwsError("InternalServerError", "The stand-in was asked to break here.", 500)
REFUSED = AwsError("InvalidParameterException", "The stand-in was asked to refuse this.")
