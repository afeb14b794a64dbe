"""A Slurm of one node on the loopback interface, for tests: munged, slurmctld and slurmd, all as root."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

DAEMONS = ("munged", "slurmctld", "slurmd")
CONFIGURATION = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=10
CryptoType=crypto/munge
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
KillWait=5
ReturnToService=2
SchedulerParameters=batch_sched_delay=0,sched_interval=2
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} State=UNKNOWN
PartitionName=debug Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def why_not() -> str | None:
    """Why no Slurm can be started here; None if it can."""
    missing = [daemon for daemon in DAEMONS if _program(daemon) is None]
    if missing:
        return f"{', '.join(missing)} not installed (Debian: slurm-wlm and munge)"
    return None if os.geteuid() == 0 else "Slurm's daemons are started as root"


@contextmanager
def cluster(folder: Path) -> Iterator[None]:
    """Inside, Slurm's commands go to a cluster whose files are in `folder`."""
    folder.chmod(0o755)
    for name in ("state", "spool"):
        (folder / name).mkdir()
    settings = {
        "host": socket.gethostname().partition(".")[0],
        "folder": folder,
        "controller_port": _free_port(),
        "node_port": _free_port(),
        "cores": os.cpu_count(),
    }
    (folder / "slurm.conf").write_text(CONFIGURATION.format(**settings))
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    munge = [
        f"--{name}={folder}/munge.{name.partition('-')[0]}" for name in ("socket", "pid-file", "log-file")
    ]
    munge += [f"--key-file={key}", f"--seed-file={folder}/munge.seed", "--force", "--foreground"]
    before = os.environ.get("SLURM_CONF")
    os.environ["SLURM_CONF"] = str(folder / "slurm.conf")
    daemons = []
    try:
        for command in (["munged", *munge], ["slurmctld", "-D", "-c"], ["slurmd", "-D"]):
            with (folder / f"{command[0]}.out").open("wb") as output:
                program = _program(command[0]) or command[0]
                daemons.append(
                    subprocess.Popen([program, *command[1:]], stdout=output, stderr=subprocess.STDOUT)
                )
            time.sleep(0.5)
        _wait_until_idle(folder)
        yield
    finally:
        subprocess.run(["scancel", "--signal=KILL", f"--user={os.getuid()}"], check=False)
        for daemon in reversed(daemons):
            daemon.terminate()
            daemon.wait(30)
        if before is None:
            del os.environ["SLURM_CONF"]
        else:
            os.environ["SLURM_CONF"] = before


def _program(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _wait_until_idle(folder: Path) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        found = subprocess.run(
            ["sinfo", "--noheader", "--format=%T"], capture_output=True, text=True, check=False
        )
        if found.stdout.strip() == "idle":
            return
        time.sleep(0.5)
    logs = "\n".join(file.read_text(errors="replace") for file in sorted(folder.glob("*.out")))
    logs += "\n".join(file.read_text(errors="replace") for file in sorted(folder.glob("*.log")))
    raise AssertionError(f"Slurm did not start: {found.stdout} {found.stderr}\n{logs[-3000:]}")
