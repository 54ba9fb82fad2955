"""
Tests for what C{twistd wazuh-cluster} and a service manager such as systemd do
for each other, as real processes.
"""

from __future__ import annotations

import os
import signal
import socket

from tests.processes import ProcessCase
from tests.stockagent import enroll, inThread
from tests.test_notify import Manager

#: systemd tells a process which one the sockets are for.
_FOR_ME = ("/bin/sh", "-c", 'LISTEN_PID=$$; export LISTEN_PID; exec "$@"', "sh")


class SystemdTests(ProcessCase):
    """
    Started as by systemd.
    """

    def manager(self, name: str) -> Manager:
        manager = Manager(f"@wazuh_cluster-{os.getpid()}-{self.port}-{name}")
        self.addCleanup(manager.close)
        return manager

    async def test_told(self) -> None:
        """
        The manager hears that both nodes are up, how they are, that they read anew,
        that their reactors turn, and that they stop.
        """
        homes = self.cluster("one")
        managers = [self.manager(home.basename()) for home in homes]
        heard = ["" for _ in homes]

        def hear(n: int, text: str) -> bool:
            heard[n] += "".join(managers[n].heard())
            return text in heard[n]

        processes = []
        for n, home in enumerate(homes):
            variables = {"NOTIFY_SOCKET": managers[n].name, "WATCHDOG_USEC": "400000"}
            processes.append(self.node(home, variables=variables))
            await self.until(lambda: hear(n, "READY=1"), "the node")  # noqa: B023
        await self.until(lambda: hear(0, "STATUS=Master hub of wazuh: 1 worker is"), "a worker")
        await self.until(lambda: hear(1, "STATUS=Worker one of wazuh: joined to hub."), "the link")
        for n, process in enumerate(processes):
            heard[n] = ""
            await self.until(lambda: hear(n, "WATCHDOG=1"), "a sign of life")  # noqa: B023
            process.kill(signal.SIGHUP)
            await self.until(lambda: hear(n, "READY=1"), "the end of it")  # noqa: B023
            self.assertIn("RELOADING=1\nMONOTONIC_USEC=", heard[n].partition("READY=1")[0])
            process.kill(signal.SIGTERM)
            self.assertEqual(-signal.SIGTERM, await process.ended)
            self.assertTrue(hear(n, "STOPPING=1"))
        self.assertEqual([], [line for line in self.log(homes[0]).splitlines() if "ERROR" in line])

    async def test_cannotStart(self) -> None:
        """
        The manager hears why a node cannot start.
        """
        (home,) = self.cluster()
        home.preauthChild("queue/wazuh_cluster").makedirs(ignoreExistingDirectory=True)
        home.preauthChild("queue/wazuh_cluster/control.sock").setContent(b"precious")
        manager = self.manager("hub")
        process = self.node(home, variables={"NOTIFY_SOCKET": manager.name})
        self.assertEqual(1, await process.ended)
        (message,) = manager.heard()
        self.assertIn("control.sock: it is not a socket: move it away", message)

    async def test_nobodyListens(self) -> None:
        """
        A manager that is not there is one warning, and the node works.
        """
        (home,) = self.cluster()
        variables = {"NOTIFY_SOCKET": "/nowhere/notify", "WATCHDOG_USEC": "20000"}
        self.node(home, variables=variables)
        await self.until(lambda: "Generation" in self.log(home), "the master")
        warning = "WARNING: [Master] [Main] The service manager is not told how this node is: "
        await self.until(lambda: warning in self.log(home), "the line")
        self.assertEqual(1, self.log(home).count("service manager"))

    async def test_sockets(self) -> None:
        """
        Both ports of a master can be sockets that are open before it is: workers and
        agents who come then are served, also while it is started again.
        """
        master, worker = self.cluster("one")
        cluster = socket.create_server(("127.0.0.1", 0))
        agents = socket.create_server(("127.0.0.1", 0))
        for each in (cluster, agents):
            self.addCleanup(each.close)
        conf = worker.preauthChild("etc/ossec.conf")
        port = cluster.getsockname()[1]
        conf.setContent(conf.getContent().replace(b"%d" % self.port, b"%d" % port))
        self.node(worker)
        for n in range(2):
            answer = inThread(enroll, agents.getsockname()[1], b"OSSEC A:'web-%d'\n" % n)
            process = self.node(
                master,
                "--listen",
                "systemd:INET:name=cluster",
                "--enrollment",
                "systemd:INET:name=agents",
                wrapper=_FOR_ME,
                variables={"LISTEN_FDS": "2", "LISTEN_FDNAMES": "cluster:agents"},
                sockets=[cluster, agents],
            )
            self.assertIn(b"OSSEC K:'00%d web-%d" % (n + 1, n), await answer)
            await self.untilEqual(master, worker)
            process.kill(signal.SIGTERM)
            await process.ended
        self.assertNotIn("Traceback", self.log(master) + self.story())

    async def test_notHandedOver(self) -> None:
        """
        A socket that was not handed over, or is another than was said, ends the node
        with one line; a worker listens to nothing.
        """
        master, worker = self.cluster("one")
        given = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(given.close)
        for home, endpoint, text in (
            (master, "systemd:INET:name=other", "FileDescriptorName="),
            (master, "systemd:INET6:name=cluster", "systemd:INET:"),
            (worker, "systemd:INET:name=cluster", "a worker does not listen"),
        ):
            process = self.node(
                home,
                "--listen",
                endpoint,
                wrapper=_FOR_ME,
                variables={"LISTEN_FDS": "1", "LISTEN_FDNAMES": "cluster"},
                sockets=[given],
            )
            self.assertEqual(1, await process.ended)
            (line,) = process.err.decode("utf-8").splitlines()
            self.assertTrue(line.startswith("--listen: "), line)
            self.assertIn(text, line)
