"""
What nodes say to each other: the AMP commands of a cluster's links.

Each command names in C{senders} the roles that may send it; one from another
role is a violation and ends the link. New arguments are C{optional}: two
versions of the protocol live together.
"""

from __future__ import annotations

from twisted.protocols import amp

from wazuh_cluster import errors
from wazuh_cluster.model import MASTER, WORKER
from wazuh_cluster.protocol.arguments import Flag, Name, Octets, Text, Whole

#: The protocol versions that this code speaks, oldest and newest.
OLDEST_VERSION = 1
NEWEST_VERSION = 1

#: The largest piece of a transfer that travels in one box.
CHUNK_SIZE = 65_000

#: The largest body that travels in one box beside other arguments.
BODY_SIZE = 60_000

#: The largest status of a worker.
STATUS_SIZE = 16_000

_ID = (16, 16)
_ROOT = (32, 32)


class ClusterCommand(amp.Command):
    """
    The base of all commands.

    @cvar senders: the roles that may send it.
    """

    senders: frozenset[str] = frozenset()


class FromWorker(ClusterCommand):
    """
    The base of what only a worker says.
    """

    senders = frozenset({WORKER})


class Opens(FromWorker):
    """
    The base of what opens a transfer, or needs a generation to answer.
    """

    errors = {
        errors.TooBusy: b"TOO_BUSY",
        errors.NoSuchGeneration: b"NO_SUCH_GENERATION",
    }


class FromEither(ClusterCommand):
    """
    The base of what both roles say.
    """

    senders = frozenset({MASTER, WORKER})


class Hello(FromWorker):
    """
    The first command on a link: a worker says who it is, the master answers
    who it is itself, or why this worker may not join. B{Joined means that
    this was answered.}

    Sent by: worker. The names must be those of the sender's certificate.

    C{oldest} and C{newest} are the protocol versions that the worker speaks;
    C{version} in the answer is the one that this link speaks from here on.
    C{homeId} names the home over restarts, C{nonce} the process. C{agentId} is
    the highest agent id that the worker ever held. C{epoch} has room for the
    term of a master's office. C{tick}: see L{KeepAlive}. C{items} is the digest
    of what the worker carries, C{itemsText} says it to people.
    """

    arguments = [
        (b"cluster", Name()),
        (b"name", Name()),
        (b"role", Text(16)),
        (b"oldest", Whole()),
        (b"newest", Whole()),
        (b"homeId", Octets(*_ID)),
        (b"nonce", Octets(*_ID)),
        (b"software", Text(128)),
        (b"wazuh", Text(64)),
        (b"agentId", Whole(optional=True)),
        (b"epoch", Whole(optional=True)),
        (b"tick", Whole(optional=True)),
        (b"items", Octets(*_ROOT, optional=True)),
        (b"itemsText", Text(16_000, optional=True)),
    ]
    response = [
        (b"name", Name()),
        (b"version", Whole()),
        (b"homeId", Octets(*_ID)),
        (b"software", Text(128)),
        (b"wazuh", Text(64)),
        (b"agentId", Whole(optional=True)),
        (b"epoch", Whole(optional=True)),
    ]
    errors = {
        errors.WrongCluster: b"WRONG_CLUSTER",
        errors.DisplacedClone: b"DISPLACED_CLONE",
        errors.NameInUse: b"NAME_IN_USE",
        errors.TooManyWorkers: b"TOO_MANY_WORKERS",
        errors.VersionTooOld: b"VERSION_TOO_OLD",
        errors.ItemsDiffer: b"ITEMS_DIFFER",
        errors.NotAMaster: b"NOT_A_MASTER",
        errors.NotAWorker: b"NOT_A_WORKER",
        errors.IdentityMismatch: b"IDENTITY_MISMATCH",
    }


class KeepAlive(FromEither):
    """
    The link is alive, and how far apart the two clocks are.

    Sent by: a worker every minute; a master to see whether a worker still
    lives. C{clock} is the sender's wall clock, the answer's the receiver's, in
    microseconds since the epoch. C{tick} is the sender's monotonic clock, in
    microseconds since a moment of its own choice: the smallest difference to
    the receiver's that was ever seen tells what a tick is there, for messages
    may be late but never early.
    """

    arguments = [(b"clock", Whole()), (b"tick", Whole(optional=True))]
    response = [(b"clock", Whole())]


class CheckIntegrity(Opens):
    """
    Are my files the master's?

    Sent by: worker. C{root} is the root of what the worker has, computed by
    C{algorithm}. The answer names the master's generation and the algorithm
    of its manifest; C{upToDate} says whether the roots are equal.
    """

    arguments = [(b"root", Octets(*_ROOT)), (b"algorithm", Text(16))]
    response = [
        (b"upToDate", Flag()),
        (b"master", Octets(*_ID)),
        (b"number", Whole()),
        (b"root", Octets(*_ROOT)),
        (b"algorithm", Text(16)),
        (b"epoch", Whole(optional=True)),
    ]


class RequestManifest(Opens):
    """
    Send me your manifest, or what makes it of the one that I have.

    Sent by: worker, which opens C{transfer} and may have C{window} bytes of it
    under way. With the C{mark} of a manifest that it has, it takes a difference
    from that too. The answer names the generation that the transfer carries.
    """

    arguments = [
        (b"transfer", Whole()),
        (b"window", Whole()),
        (b"mark", Octets(*_ROOT, optional=True)),
    ]
    response = [
        (b"master", Octets(*_ID)),
        (b"number", Whole()),
        (b"root", Octets(*_ROOT)),
        (b"epoch", Whole(optional=True)),
    ]


class RequestFiles(Opens):
    """
    Send me these files.

    Sent by: worker. Once this is answered the worker sends what it wants
    (path, digest, offset of each) as the transfer C{wants}, of which it may
    have the answer's C{window} bytes under way; the master answers that with
    the transfer C{transfer}, a pack.

    C{compressions} are the names, with blanks between them, of what the worker
    can take the pack compressed with; C{compression} is the one that the master
    chose. Without either the pack travels as it is.
    """

    arguments = [
        (b"wants", Whole()),
        (b"transfer", Whole()),
        (b"window", Whole()),
        (b"algorithm", Text(16)),
        (b"compressions", Text(64, optional=True)),
    ]
    response = [(b"window", Whole()), (b"compression", Text(16, optional=True))]


class FileChunk(FromEither):
    """
    The next piece of a transfer.

    Sent by: a transfer's sender. C{sequence} counts from 0 within a transfer.
    """

    arguments = [
        (b"transfer", Whole()),
        (b"sequence", Whole()),
        (b"data", Octets(1, CHUNK_SIZE)),
    ]
    requiresAnswer = False


class EndTransfer(FromEither):
    """
    All of a transfer has been sent.

    Sent by: a transfer's sender. C{size} is that of the whole stream;
    C{digest} its SHA-256, where the content does not carry digests of its own.
    """

    arguments = [
        (b"transfer", Whole()),
        (b"size", Whole()),
        (b"digest", Octets(*_ROOT, optional=True)),
    ]
    requiresAnswer = False


class AbortTransfer(FromEither):
    """
    No more of this transfer.

    Sent by: either end of it.
    """

    arguments = [(b"transfer", Whole()), (b"reason", Text(1024))]
    requiresAnswer = False


class TransferCredit(FromEither):
    """
    How far a transfer's stream was taken in, in bytes from its beginning: its
    sender may be a window ahead of that.

    Sent by: a transfer's receiver.
    """

    arguments = [(b"transfer", Whole()), (b"taken", Whole())]
    requiresAnswer = False


class ReportIntegrity(FromWorker):
    """
    What I applied of a generation, and what I could not, and why.

    Sent by: worker. C{root} is what its files have become; C{received} counts
    the bytes of content that came over the link; C{failures} is a
    text of at most 200 lines C{path: reason}, C{failed} their true number.
    C{held} counts the files that the worker holds back, C{holds} says why, a
    line for each hold.
    """

    arguments = [
        (b"master", Octets(*_ID)),
        (b"number", Whole()),
        (b"generation", Octets(*_ROOT)),
        (b"root", Octets(*_ROOT)),
        (b"counts", Text(256)),
        (b"milliseconds", Whole()),
        (b"received", Whole()),
        (b"failed", Whole()),
        (b"failures", Text(32_000)),
        (b"held", Whole()),
        (b"holds", Text(8_000)),
    ]
    response = []


class ReportStatus(FromWorker):
    """
    What is new of me, for whoever looks at the cluster.

    Sent by: worker. C{status} is a UTF-8 JSON object with the fields that
    changed, all of them after a join; see "Status" in the manual.
    """

    arguments = [(b"status", Octets(2, STATUS_SIZE))]
    response = []


class IntegrityChanged(ClusterCommand):
    """
    The master has a new generation.

    Sent by: master.
    """

    senders = frozenset({MASTER})
    arguments = [(b"number", Whole()), (b"root", Octets(*_ROOT))]
    requiresAnswer = False


class SyncAgentInfo(FromWorker):
    """
    What changed of the agents that report to me.

    Sent by: worker. C{records} is a batch: a UTF-8 JSON array of objects, one
    for each agent; C{details} is what is known of them besides; see "Agents" in
    the manual. C{tick} is the worker's
    monotonic clock when the ages in it were written, as in L{KeepAlive}: they
    count back from it. The answer comes when the batch is committed: C{taken}
    counts the records that were taken, C{unknown} is a JSON array of the ids
    that the master does not know, C{incomplete} one of those of which it wants
    all that is known.
    """

    arguments = [
        (b"tick", Whole()),
        (b"records", Octets(2, BODY_SIZE)),
        (b"details", Octets(0, BODY_SIZE, optional=True)),
    ]
    response = [
        (b"taken", Whole()),
        (b"unknown", Octets(2, BODY_SIZE)),
        (b"incomplete", Octets(2, BODY_SIZE, optional=True)),
    ]
    errors = {errors.StoreFailed: b"STORE_FAILED"}


class RegisterAgent(FromWorker):
    """
    Register this agent, which asked at my door.

    Sent by: worker. C{request} is an id that the worker made: the same again is
    a retry, and gives the same agent. C{groups} is a list with commas;
    C{keyHash} is of the key that the agent has. The answer comes when the
    registration is durable. A refusal's text is authd's code, a blank and
    authd's text.
    """

    arguments = [
        (b"request", Octets(*_ID)),
        (b"name", Text(128)),
        (b"ip", Text(64)),
        (b"groups", Text(33_000, optional=True)),
        (b"keyHash", Text(40, optional=True)),
    ]
    response = [
        (b"id", Whole()),
        (b"name", Text(128)),
        (b"ip", Text(64)),
        (b"key", Text(4096)),
    ]
    errors = {
        errors.RegistrationRefused: b"REGISTRATION_REFUSED",
        errors.TooBusy: b"TOO_BUSY",
    }


class UndoRegistration(FromWorker):
    """
    The agents of these requests never got their answer.

    Sent by: worker. C{requests} is one id of 16 bytes after the other. The
    master removes what they registered through this worker, and refuses them
    from now on.
    """

    arguments = [(b"requests", Octets(16, 16 * 1024))]
    response = []
    errors = {errors.RegistrationRefused: b"REGISTRATION_REFUSED"}


class AssignGroups(FromWorker):
    """
    These agents first showed up here, with these groups.

    Sent by: worker. C{assignments} is a UTF-8 JSON object: an agent's id in
    digits to an array of the names of its groups. The answer comes when what
    was taken is durable; C{refused} is a JSON object: the ids that were not
    taken, to why, one line each. On an error nothing is refused: the worker
    offers it all again later.
    """

    arguments = [(b"assignments", Octets(2, BODY_SIZE))]
    response = [(b"refused", Octets(2, BODY_SIZE))]
    errors = {
        errors.GroupRefused: b"GROUP_REFUSED",
        errors.StoreFailed: b"STORE_FAILED",
    }


class Request(FromEither):
    """
    Do, or tell me, something that has a name on your list of what a node of my
    role may ask.

    Sent by: either. What C{body} and the answer are, the name says.
    """

    arguments = [(b"name", Text(64)), (b"body", Octets(0, BODY_SIZE))]
    response = [(b"body", Octets(0, BODY_SIZE))]
    errors = {
        errors.RequestRefused: b"REQUEST_REFUSED",
        errors.TooBusy: b"TOO_BUSY",
    }


#: All commands of the links, by their name on the wire.
COMMANDS: dict[bytes, type[ClusterCommand]] = {
    command.commandName: command
    for command in (
        Hello,
        KeepAlive,
        CheckIntegrity,
        RequestManifest,
        RequestFiles,
        FileChunk,
        EndTransfer,
        AbortTransfer,
        TransferCredit,
        ReportIntegrity,
        ReportStatus,
        IntegrityChanged,
        SyncAgentInfo,
        RegisterAgent,
        UndoRegistration,
        AssignGroups,
        Request,
    )
}
