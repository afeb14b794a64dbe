"""Where independent jobs run: processes of this machine, or a cluster's."""

from asr_kd.launching.choice import make_launcher
from asr_kd.launching.launcher import Launcher

__all__ = ["Launcher", "make_launcher"]
