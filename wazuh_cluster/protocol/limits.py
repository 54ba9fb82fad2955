"""
The bounds that keep a peer from costing more than it should.

Each is a setting of C{etc/wazuh_cluster.ini}, section C{[limits]}, under its
own name. Sizes are in bytes, times in seconds.
"""

from __future__ import annotations

from attrs import frozen


@frozen
class Limits:
    """
    What one node allows a peer.

    The defaults let 200 workers behind one address work at full speed, bound
    what a stranger costs to some tens of KiB, and close within 10 seconds who
    does not do what a node does.

    @ivar boxKeys: keys in one AMP box.
    @ivar boxBytes: bytes in one AMP box.
    @ivar openResponders: commands of one peer that may be unanswered before
        nothing more is read from it.
    @ivar openBytes: bytes of such commands, likewise.
    @ivar boxesPerTurn: boxes of one peer that are worked on before it is the
        others' turn.
    @ivar answerBytes: what may wait to be written to a peer, but for chunks,
        before nothing more is read from it.
    @ivar unreadAnswers: answers, within a minute, after which a peer is asked
        for a KeepAlive, to show that it reads them.
    @ivar greetTimeout: from the connection to the end of Hello.
    @ivar stallTimeout: how long a peer may take nothing of what waits for it,
        may take to send the rest of a box or of a list of wanted files, and to
        show that it reads answers; and how long it may be silent while it owes
        an answer, the rest of a transfer, or word of how far it has taken one.
    @ivar answerTimeout: how long a peer may owe an answer.
    @ivar probeTimeout: how long a node that is asked whether it still lives
        may take to answer.
    @ivar transferTimeout: how long a transfer may stand still before it is
        given up.
    @ivar window: bytes of one transfer that may be under way.
    @ivar linkBuffer: bytes that are read from a link, or wait to be written to
        it, at once. Up to 65536 all is left to Twisted's own code.
    @ivar transfers: transfers that may be open in one direction of one link.
    @ivar wantedFiles: files that may be asked for at once.
    @ivar wantedBytes: size of a list of wanted files.
    @ivar manifestFiles: files of a manifest.
    @ivar manifestBytes: size of a manifest on the wire.
    @ivar workers: workers that may be joined to a master.
    @ivar registrations: registrations of one worker that may be under way. It
        leaves some of C{openResponders} to everything else, for a disk that
        hangs holds them up.
    @ivar greeting: connections that have said nothing yet, and likewise those
        that said something but not Hello, on the whole listener; beyond it
        the one that waits longest is closed.
    @ivar greetingPerAddress: connections from one address that said something
        but not Hello.
    """

    boxKeys: int = 16
    boxBytes: int = 70 * 1024
    openResponders: int = 64
    openBytes: int = 1024 * 1024
    boxesPerTurn: int = 16
    answerBytes: int = 256 * 1024
    unreadAnswers: int = 256
    greetTimeout: float = 8.0
    stallTimeout: float = 8.0
    answerTimeout: float = 20.0
    probeTimeout: float = 5.0
    transferTimeout: float = 60.0
    window: int = 1024 * 1024
    linkBuffer: int = 256 * 1024
    transfers: int = 4
    wantedFiles: int = 10_000
    wantedBytes: int = 2 * 1024 * 1024
    manifestFiles: int = 500_000
    manifestBytes: int = 64 * 1024 * 1024
    workers: int = 1000
    registrations: int = 48
    greeting: int = 512
    greetingPerAddress: int = 256
