"""
The account that a worker gives of an installation: to the log, and to the
master.
"""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime

from wazuh_cluster.integrity import Holds, Outcome, Plan
from wazuh_cluster.journal import Journal
from wazuh_cluster.model import Generation, SyncReport
from wazuh_cluster.protocol import Peer, ReportIntegrity
from wazuh_cluster.repeats import Repeats
from wazuh_cluster.worker.fetch import Progress

#: Failures that are told to the master, and those, and changed files, that are
#: logged, one line each.
_TOLD = 200
_SHOWN = 20

#: How many of these lines may be written at once; then one a second.
_BURST = 200


def describeCounts(plan: Plan) -> str:
    """
    What is to be done, in the words that people's parsers know.
    """
    return (
        f"Files to create: {len(plan.create)} | Files to update: {len(plan.update)} | "
        f"Files to delete: {len(plan.delete) + len(plan.clear)}"
    )


def describeOutcome(
    generation: Generation, outcome: Outcome, progress: Progress, seconds: float
) -> SyncReport:
    """
    What was done, as a report.
    """
    return SyncReport(
        generation,
        outcome.created,
        outcome.updated,
        (*outcome.restamped, *outcome.mended),
        outcome.deleted,
        dict(outcome.failed),
        outcome.inPlace,
        progress.bytesDone,
        progress.bytesStaged,
        seconds,
    )


class Account:
    """
    Says what is new, once.
    """

    def __init__(self, log: Journal, home: bytes, clock: IReactorTime) -> None:
        self._log = log
        self._home = home
        self._failures: frozenset[tuple[bytes, str]] = frozenset()
        self._holds: frozenset[str] = frozenset()
        self._started: str | None = None
        self._failureTold = ""
        self._reached: Generation | None = None
        # A master can name other files each time.
        self._problems = Repeats(clock, burst=_BURST)

    def alreadyAt(self, generation: Generation) -> None:
        """
        The files were a generation's before anything was done about them.
        """
        self._reached = generation

    def starting(self, counts: str, fetching: bool) -> None:
        """
        An installation begins.

        @param fetching: whether it may take a while.
        """
        # What is tried again and again is said once.
        say = self._log.info if fetching and counts != self._started else self._log.debug
        say("Starting. {counts}.", counts=counts)
        self._started = counts

    def say(
        self, report: SyncReport, outcome: Outcome, holds: Holds, reached: bool, counts: str
    ) -> bool:
        """
        Write to the log what is new in a report.

        @param reached: whether the files are the generation's now.
        @param counts: what was to be done.
        @return: whether there was anything new.
        """
        changed = bool(report.created or report.updated or report.deleted or report.restamped)
        failures = frozenset(report.failed.items())
        held = frozenset(hold.id for hold in holds.all)
        arrived = reached and self._reached != report.generation
        new = changed or arrived or failures != self._failures or held != self._holds
        if changed or failures - self._failures:
            self._log.info(
                "Finished in {seconds:.3f}s. {counts} | Files to mend: {mended}. {received} bytes "
                "received, {staged} were here already, {failed} files failed. {state} "
                "generation {generation}.",
                seconds=report.seconds,
                counts=counts,
                mended=len(report.restamped),
                received=report.received,
                staged=report.staged,
                failed=len(report.failed),
                state=_state(reached, len(holds)),
                generation=report.generation.describe(),
            )
            self._sayNames(outcome)
        self._sayProblems(report, outcome, failures - self._failures)
        for hold in holds.all:
            if hold.id not in self._holds:
                self._log.error(
                    "Held: {text}. To accept it: wazuh-cluster accept --home {home} {id}",
                    text=hold.text,
                    home=_shown(self._home),
                    id=hold.id,
                )
        self._failures, self._holds = failures, held
        # What waits for the next second goes on then.
        if changed or not (failures or outcome.postponed):
            self._started = None
        self._reached = report.generation if reached else None
        return new

    def _sayNames(self, outcome: Outcome) -> None:
        """
        Which files it was, the first of them.
        """
        done = (
            ("created", outcome.created),
            ("updated", outcome.updated),
            ("deleted", outcome.deleted),
            ("its time was mended", outcome.restamped),
            ("its mode or owner was mended", outcome.mended),
        )
        room = _SHOWN
        for what, paths in done:
            for path in paths[:room]:
                self._log.debug("{path}: {what}.", path=_shown(path), what=what)
            room -= len(paths[:room])
        more = sum(len(paths) for _, paths in done) - _SHOWN
        if more > 0:
            self._log.debug("And {more} more files.", more=more)

    def sayProgress(self, progress: Progress) -> None:
        """
        How far a fetch that takes long has come.
        """
        self._log.info(
            "Received {done} of {files} files, {size} of {total} bytes ({percent}%).",
            done=progress.filesDone,
            files=progress.files,
            size=progress.bytesDone,
            total=progress.bytes,
            percent=100 * (progress.bytesDone + progress.bytesStaged) // max(1, progress.bytes),
        )

    def _sayProblems(
        self, report: SyncReport, outcome: Outcome, failures: frozenset[tuple[bytes, str]]
    ) -> None:
        shown = 0
        for path, why in sorted(failures)[:_SHOWN]:
            if self._problems.allow((path, why)) is None:
                break
            shown += 1
            self._log.error("{path} was not installed: {why}.", path=_shown(path), why=why)
        if len(failures) > shown:
            self._log.error("And {more} more files.", more=len(failures) - shown)
        for path in report.inPlace:
            self._log.warn(
                "{path} is mounted by itself: it was written in place.", path=_shown(path)
            )
        if outcome.unmended:
            self._log.warn(
                "Mode or owner of {count} files or folders could not be set ({path}, …): that "
                "needs root, or their owner.",
                count=len(outcome.unmended),
                path=_shown(outcome.unmended[0]),
            )
        if outcome.notDurable is not None:
            self._log.error("{why}.", why=outcome.notDurable)

    async def tell(
        self, peer: Peer, report: SyncReport, holds: Holds, root: bytes, counts: str
    ) -> None:
        """
        Tell the master.

        @param root: what the files have become.
        """
        self._failureTold = ""
        failed = sorted(report.failed.items())[:_TOLD]
        lines = [f"{_shown(path)[:400]}: {why[:200]}".replace("\n", "\\n") for path, why in failed]
        await peer.call(
            ReportIntegrity,
            master=report.generation.master,
            number=report.generation.number,
            generation=report.generation.root,
            root=root,
            counts=counts,
            milliseconds=int(report.seconds * 1000),
            received=report.received,
            failed=len(report.failed),
            failures="\n".join(lines)[:30_000],
            held=len(holds),
            holds="\n".join(hold.text.replace("\n", " ")[:1000] for hold in holds.all)[:7_500],
        )

    async def tellFailure(self, peer: Peer, generation: Generation, root: bytes, text: str) -> None:
        """
        Tell the master, once, that nothing could be installed.

        @param text: why not, one line.
        """
        if not peer.live or text == self._failureTold:
            return
        self._failureTold = text
        await peer.call(
            ReportIntegrity,
            master=generation.master,
            number=generation.number,
            generation=generation.root,
            root=root,
            counts="Nothing could be installed",
            milliseconds=0,
            received=0,
            failed=1,
            failures=text.replace("\n", " ")[:30_000],
            held=0,
            holds="",
        )


def _state(reached: bool, held: int) -> str:
    if not reached:
        return "Not yet at"
    return f"But for {held} held files at" if held else "Now at"


def _shown(path: bytes) -> str:
    return path.decode("utf-8", "backslashreplace")
