"""
The tree of everything that this package raises on purpose.

Each error's text is one line that a person who runs a cluster can act on: what
is wrong, where, and what to do about it.
"""

from __future__ import annotations


class ClusterError(Exception):
    """
    The root of the tree: catch this to catch whatever the cluster refuses.
    """


class BadInput(ClusterError):
    """
    Something that an operator wrote or chose cannot be used.

    @ivar what: what is wrong, a phrase without a final stop.
    @ivar where: the file, element, option or folder in which it is wrong.
    @ivar remedy: what to do about it, a phrase without a final stop.
    """

    def __init__(self, what: str, where: str, remedy: str) -> None:
        super().__init__(f"{where}: {what}: {remedy}")
        self.what = what
        self.where = where
        self.remedy = remedy


class ConfigError(BadInput):
    """
    The configuration cannot be used as it is written.
    """


class HomeError(BadInput):
    """
    The home folder is missing, is not one, or cannot be used.
    """


class BadKey(BadInput):
    """
    The cluster key is missing, malformed or known to everybody.
    """


class BadName(ClusterError, ValueError):
    """
    A node's or cluster's name is not one: the text says why.
    """


class ProtocolViolation(ClusterError):
    """
    The peer said something that no node of its role, version and state says.
    The link ends at once.
    """


class HostilePath(ProtocolViolation):
    """
    A path that a peer named leads, or may lead, out of the declared items.

    @ivar path: the path as it came.
    @ivar why: the rule that it breaks.
    """

    def __init__(self, path: bytes, why: str) -> None:
        super().__init__(f"{path!r}: {why}")
        self.path = path
        self.why = why


class BadArgument(ProtocolViolation):
    """
    A command's argument is missing or cannot be read.
    """


class LimitExceeded(ProtocolViolation):
    """
    The peer sent more, or larger, than the agreed limits allow.
    """


class MalformedStream(ProtocolViolation):
    """
    A manifest, a list of wants or a pack cannot be read as one.
    """


class TransferAborted(ClusterError):
    """
    A transfer ended before its end; the text is the reason that one end gave.
    """


class LinkClosed(ClusterError):
    """
    The link to the peer is gone, or is not there yet.
    """


class LinkStalled(LinkClosed):
    """
    The peer took nothing, or said nothing, for longer than the limit while
    something was owed.
    """


class NotTrusted(LinkClosed):
    """
    The link ended before both ends had shown that they belong to the cluster,
    or because one of them does not belong to it any more. The text says what
    was met at the other end, and the remedy.
    """


class PassedBy(NotTrusted):
    """
    Somebody connected and went without a word, as load balancers do to see
    whether a port is open.
    """


class WrongKey(NotTrusted):
    """
    The two ends have different cluster keys, or certificates of different
    authorities.
    """


class Revoked(NotTrusted):
    """
    The certificate of one end was withdrawn by its authority.
    """


class Refused(ClusterError):
    """
    A master does not let a worker join. The text carries the remedy; it
    travels to the worker and stands in the logs of both.
    """


class WrongCluster(Refused):
    """
    The key is right, but the worker names another cluster.
    """


class NameInUse(Refused):
    """
    Another live node goes by this name.
    """


class DisplacedClone(NameInUse):
    """
    Another process with the same home id took this node's place: the home was
    copied, or is run twice.
    """


class TooManyWorkers(Refused):
    """
    As many workers as the master allows are joined.
    """


class VersionTooOld(Refused):
    """
    The two ends have no protocol version in common.
    """


class ItemsDiffer(Refused):
    """
    The two ends do not carry the same items. The text says which differ.
    """


class NotAMaster(Refused):
    """
    The node that was dialled is not a master.
    """


class NotAWorker(Refused):
    """
    The node that dials is not a worker.
    """


class IdentityMismatch(Refused):
    """
    The names in Hello are not the ones in the certificate.
    """


class NotJoined(ClusterError):
    """
    The command is for nodes that have joined: Hello comes first.
    """


class NoSuchGeneration(ClusterError):
    """
    The master has no generation to show yet.
    """


class TooBusy(ClusterError):
    """
    The peer has as many of these open as it allows; ask again later.
    """


class InstallFailed(ClusterError):
    """
    What is to be installed cannot be made ready. No carried file has changed.

    @ivar path: the path, relative to the home, at which it happened.
    """

    def __init__(self, path: bytes, reason: str) -> None:
        super().__init__(f"{path.decode('utf-8', 'backslashreplace')}: {reason}")
        self.path = path


class StateDamaged(BadInput):
    """
    A file in which a node keeps its state cannot be read as one.
    """


class Stopped(ClusterError):
    """
    The work was told to stop before it was done.
    """


class WorkHangs(ClusterError):
    """
    So much blocking work hangs in the operating system that no more is begun
    until some of it ends.
    """


class RegistrationRefused(ClusterError):
    """
    An agent may not be registered, in the words of Wazuh's authd.

    @ivar code: authd's, 9001 to 9015; 0 if it came without one.
    @ivar text: authd's, without a final stop.
    """

    def __init__(self, line: str) -> None:
        """
        @param line: code, a blank and text, as it travels; see L{of}.
        """
        super().__init__(line)
        code, _, text = line.partition(" ")
        known = len(code) == 4 and code.isdecimal()
        self.code, self.text = (int(code), text) if known else (0, line)

    @classmethod
    def of(cls, code: int, text: str) -> RegistrationRefused:
        """
        The refusal with this code and text.
        """
        return cls(f"{code} {text}")


class EnrollmentRefused(ClusterError):
    """
    What an agent that asked to be enrolled is told, in the words of Wazuh's
    authd, without C{ERROR: } before it and what always follows it.
    """


class MasterUnreachable(ClusterError):
    """
    Only the master can decide this, and it cannot be asked now.
    """


class GroupRefused(ClusterError):
    """
    A group cannot be made, removed or assigned.
    """


class RequestRefused(ClusterError):
    """
    A request to another node, or to this one's daemon, that may not be made or
    cannot be fulfilled; the text says why, and the remedy.
    """


class RecordRefused(ClusterError):
    """
    A record of an agent that cannot be kept or sent; the text says of which,
    and why.
    """


class StoreFailed(ClusterError):
    """
    A database, or files that are one, cannot be used now: the text says which,
    and why.

    @ivar damaged: whether it will not be before somebody moves the file aside.
    """

    def __init__(self, text: str, damaged: bool = False) -> None:
        super().__init__(text)
        self.damaged = damaged
