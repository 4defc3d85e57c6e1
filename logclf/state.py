"""Where logclf keeps what must outlive a run: models that were trained or fetched, and which one is in use."""

from __future__ import annotations

import os
from pathlib import Path

OF_A_SERVICE = Path("/var/lib/logclf")  # for an account without a home directory


def state_directory() -> Path:
    """`$LOGCLF_STATE_DIR`, else `logclf` in the XDG state directory. It need not exist."""
    named = os.environ.get("LOGCLF_STATE_DIR")
    if named:
        return Path(named)
    base = Path(os.environ.get("XDG_STATE_HOME") or "")
    if base.is_absolute():  # the XDG specification has relative ones ignored
        return base / "logclf"
    try:
        return Path.home() / ".local" / "state" / "logclf"
    except RuntimeError:
        return OF_A_SERVICE
