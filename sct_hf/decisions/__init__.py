"""From logits to decisions: calibrated scores, and thresholds with a purpose."""

from .fit import Decisions, fit_decisions
from .profiles import DEFAULT_PROFILES, Profile, parse_profile

__all__ = ["DEFAULT_PROFILES", "Decisions", "Profile", "fit_decisions", "parse_profile"]
