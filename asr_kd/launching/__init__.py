"""Where independent jobs run: processes of this machine, or a cluster's."""

from asr_kd.launching.launcher import Launcher, make_launcher

__all__ = ["Launcher", "make_launcher"]
