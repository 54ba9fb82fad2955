"""
Made-up agents: their keys, their groups, and what the groups share.

The same seed gives the same files.
"""

from __future__ import annotations

from hashlib import sha256
from random import Random

from attrs import frozen

_SYSTEMS = (
    ("linux", "/var/log/syslog", "syslog"),
    ("windows", "Security", "eventchannel"),
)
_TASKS = (
    ("web", "/var/log/web/access.log", "apache"),
    ("databases", "/var/log/database/audit.json", "json"),
    ("mail", "/var/log/mail.log", "syslog"),
    ("storage", "/var/log/storage/audit.json", "json"),
    ("offices", "/var/log/clients.log", "syslog"),
    ("factory", "/var/log/machines.log", "syslog"),
    ("laboratory", "/var/log/instruments.log", "syslog"),
)


@frozen
class Agents:
    """
    Files of a manager, and how much there is in them.

    @ivar files: path relative to the home to content.
    @ivar agents: how many agents have a key.
    @ivar groups: how many groups there are.
    """

    files: dict[str, bytes]
    agents: int
    groups: int


def makeAgents(seed: int, count: int = 200) -> Agents:
    """
    Make up agents.

    @param count: how many.
    """
    random = Random(seed)
    confs = {"default": "<agent_config>\n\n</agent_config>\n"}
    for name, location, form in (*_SYSTEMS, *_TASKS):
        confs[name] = _conf(location, form)
    files: dict[str, bytes] = {}
    for name, conf in confs.items():
        files[f"etc/shared/{name}/agent.conf"] = conf.encode()
        files[f"etc/shared/{name}/merged.mg"] = _merged(name, conf)
    keys = []
    for number in range(1, count + 1):
        task, system = random.choice(_TASKS)[0], random.choice(_SYSTEMS)[0]
        keys.append(f"{number:03} {task}-{number:03} any {random.getrandbits(256):064x}\n")
        groups = f"{system},{task}" if random.random() < 0.8 else "default"
        files[f"queue/agent-groups/{number:03}"] = f"{groups}\n".encode()
        if "," in groups:
            folder = sha256(groups.encode()).hexdigest()[:8]
            both = confs[system] + confs[task]
            files[f"var/multigroups/{folder}/merged.mg"] = _merged(folder, both)
    files["etc/client.keys"] = "".join(keys).encode()
    return Agents(files, count, len(confs))


def _conf(location: str, form: str) -> str:
    return (
        "<agent_config>\n"
        "  <localfile>\n"
        f"    <location>{location}</location>\n"
        f"    <log_format>{form}</log_format>\n"
        "  </localfile>\n"
        "</agent_config>\n"
    )


def _merged(name: str, conf: str) -> bytes:
    """
    What an agent of this group is sent: all files of the group in one.
    """
    return f"#{name}\n!{len(conf)} agent.conf\n{conf}".encode()
