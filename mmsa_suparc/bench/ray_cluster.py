"""Running the cells of a plan on a Ray cluster whose machines share no folder.

A cell's folder goes to a node and comes back through Ray's object store, put in place whole or
not at all; what a cell reads is looked up there by what it holds, and sent once a machine where it
is absent. What the nodes do is in ``ray_node.py``.
"""

from __future__ import annotations

import contextlib
import math
import signal
import socket
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmsa_suparc import extras
from mmsa_suparc.bench import cells, ray_node
from mmsa_suparc.bench.execute import Job, Outcome
from mmsa_suparc.data import fingerprints, store
from mmsa_suparc.data.archives import put_in_place
from mmsa_suparc.data.inputs import Input
from mmsa_suparc.errors import InUseError, SupArcError, UserError, in_a_line
from mmsa_suparc.runs import identity
from mmsa_suparc.training.identity import other_ground
from mmsa_suparc.training.stop import stopped

#: How often a cell whose worker was killed is run again.
RETRIES = 2
#: Seconds after which a training's new state comes back, for the case that its worker is killed.
STATE_EVERY = 60.0
#: Seconds that a node may take to answer before the first cell.
PATIENCE = 120.0
#: Bytes of an input that are sent unasked.
SEND_LIMIT = 2 << 30

Note = Callable[[str], None]


@dataclass(frozen=True)
class Wanted:
    """What a cell is given on the cluster: cores, GPUs, and at most so many bytes of input."""

    cpus: float = 1
    gpus: float = 0
    send_limit: int = SEND_LIMIT
    state_every: float = STATE_EVERY


@dataclass
class Attempt:
    """A cell that is being run, for the first time or again."""

    job: Job
    inputs: tuple[Input, ...]
    number: int = 1
    node: str = ""


def execute_with_ray(
    jobs: Sequence[Job],
    *,
    address: str | None,
    wanted: Wanted,
    retry_failed: bool = False,
    on_start: Callable[[Job], None] = lambda job: None,
    on_end: Callable[[Outcome], None] = lambda outcome: None,
    on_note: Note = lambda line: None,
) -> list[Outcome]:
    """Run the cells that are not done; one that fails does not stop the others.

    Args:
        jobs: all cells.
        address: of the cluster; None starts one on this machine.
        wanted: for each cell.
        retry_failed: run those again that failed before.
        on_start: told when a cell starts.
        on_end: told when it has ended.
        on_note: told in a line what was sent, and which cell is run again.

    Raises:
        UserError: Ray is not installed or there is no such cluster; a node has other code than
            this machine, or lacks an input that is too large to be sent. No cell was started.
        KeyboardInterrupt: the user stopped it; the states that came back are kept.
        StoppedError: SIGTERM did, likewise.
    """
    to_do = [job for job in jobs if not job.done and (retry_failed or not job.failed)]
    if not to_do:
        return []
    attempts = [Attempt(job, cells.inputs_of(job.folder)) for job in to_do]
    with _alone(to_do[0].folder.path.parent), _connected(address) as ray:
        grid = Grid(ray, wanted, on_start, on_end, on_note)
        with _asked_to_stop() as signals:
            grid.look_at_nodes(attempts)
            return grid.run(attempts, signals)


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """No other process puts cells into this folder from a cluster."""
    try:
        with store.owned(folder, "mmsa bench --executor ray"):
            yield
    except InUseError:
        raise InUseError(
            f"{folder} is in use by another mmsa bench --executor ray; choose another --out or wait"
        ) from None


@contextlib.contextmanager
def _connected(address: str | None) -> Iterator[Any]:
    extras.require("ray", "--executor ray")
    import ray

    try:
        _try_to_reach(address or "")
        ray.init(
            address=address, include_dashboard=False, log_to_driver=False, logging_level="ERROR"
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(
            f"--address {address}: no Ray cluster there ({in_a_line(error)}); start one with "
            "ray start --head"
        ) from None
    try:
        yield ray
    finally:
        ray.shutdown()


def _try_to_reach(address: str) -> None:
    """Ray itself goes on trying for minutes where nobody listens."""
    host, _, port = address.rpartition(":")
    if port.isdigit() and "/" not in host:
        socket.create_connection((host, int(port)), timeout=10).close()


@contextlib.contextmanager
def _asked_to_stop() -> Iterator[list[int]]:
    """Within this block SIGTERM is noted, to be looked at: raising where it comes would break what
    Ray is doing."""
    signals: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield signals
        return
    before = signal.signal(signal.SIGTERM, lambda number, frame: signals.append(number))
    try:
        yield signals
    finally:
        signal.signal(signal.SIGTERM, before)


@dataclass
class Grid:
    """Cells on the nodes of a cluster."""

    ray: Any
    wanted: Wanted
    on_start: Callable[[Job], None]
    on_end: Callable[[Outcome], None]
    on_note: Note
    sent: dict[Input, Any] = field(default_factory=dict)  # references in the object store
    outcomes: list[Outcome] = field(default_factory=list)
    running: dict[Any, Attempt] = field(default_factory=dict)  # by its stream of messages

    def __post_init__(self) -> None:
        exceptions = self.ray.exceptions
        #: What Ray says when a worker or its machine has died, or was ended for its memory.
        self.killed = (
            exceptions.WorkerCrashedError, exceptions.NodeDiedError, exceptions.ObjectLostError,
            exceptions.LocalRayletDiedError, exceptions.OutOfMemoryError,
        )  # fmt: skip
        self.task = self.ray.remote(
            num_cpus=self.wanted.cpus, num_gpus=self.wanted.gpus, max_retries=0,
            num_returns="streaming",
        )(ray_node.run)  # fmt: skip
        self.code = fingerprints.of_code(cells.TRAINING_CODE)

    def look_at_nodes(self, attempts: Sequence[Attempt]) -> None:
        """Before the first cell: every node has this code, and what it lacks can be sent.

        Raises:
            UserError: the first that has not, or an input that is too large.
        """
        device = "cuda" if self.wanted.gpus else "cpu"
        inputs = tuple(dict.fromkeys(each for attempt in attempts for each in attempt.inputs))
        look = self.ray.remote(num_cpus=0, max_retries=0)(ray_node.machine)
        on_node = self.ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
        asked = {
            node["NodeID"]: look.options(
                scheduling_strategy=on_node(node["NodeID"], soft=False)
            ).remote(cells.TRAINING_CODE, inputs, device)
            for node in self._able_nodes()
        }
        if not asked:
            self.on_note(
                f"no node has {self.wanted.cpus:g} cores and {self.wanted.gpus:g} GPUs now; "
                "waiting for one"
            )
        ground = identity.of_surroundings(device)
        for node, answer in asked.items():
            try:
                found = self.ray.get(answer, timeout=PATIENCE)
            except self.killed:
                continue  # no cell will run there
            except self.ray.exceptions.RayError as error:
                raise UserError(
                    f"node {node[:8]}: mmsa_suparc is not installed there as it is here "
                    f"({_last_line(error)})"
                ) from None
            if found.code != self.code:
                raise UserError(ray_node.other_code(found.name, found.code, self.code))
            changed = other_ground(found.ground, ground)
            if changed:
                print(f"mmsa: node {found.name} has {changed}", file=sys.stderr)
            for each in found.lacks:
                self._send(each, found.name)

    def _able_nodes(self) -> Iterator[dict[str, Any]]:
        for node in self.ray.nodes():
            has = node["Resources"]
            if (
                node["Alive"]
                and has.get("CPU", 0) >= self.wanted.cpus
                and has.get("GPU", 0) >= self.wanted.gpus
            ):
                yield node

    def _send(self, wanted: Input, node: str) -> None:
        """Put an input into the object store, once.

        Raises:
            UserError: it is larger than the user allows.
        """
        if wanted in self.sent:
            return
        size, limit = wanted.size(), self.wanted.send_limit
        if size > limit:
            raise UserError(
                f"node {node}: has no {wanted.name}, whose {size:,} bytes are more than "
                f"--send-limit {limit:,}: copy it there to the same path, or raise the limit"
            )
        self.sent[wanted] = self.ray.put(wanted.pack())

    def run(self, attempts: Sequence[Attempt], signals: Sequence[int] = ()) -> list[Outcome]:
        """All cells to their end, or until a signal has come.

        Raises:
            StoppedError: it has.
        """
        waiting = deque(attempts)
        while waiting or self.running:
            while waiting and len(self.running) < self._room():
                self._submit(waiting.popleft())
            ready, _ = self.ray.wait(list(self.running), num_returns=1, timeout=1.0)
            if signals:
                raise stopped("stopped; the same command goes on", signals[0])
            if not ready:
                continue
            (stream,) = ready
            attempt = self.running.pop(stream)
            try:
                message = self.ray.get(next(stream))
                if self._goes_on(attempt, message):
                    self.running[stream] = attempt
            except self.killed as error:
                self._again(attempt, f"its worker was killed ({type(error).__name__})")
            except (self.ray.exceptions.RayError, StopIteration) as error:
                self._fail(attempt, 1, _last_line(error))
            except SupArcError as error:
                self._fail(attempt, error.status, str(error))
        return self.outcomes

    def _submit(self, attempt: Attempt) -> None:
        folder = attempt.job.folder.path
        work = ray_node.Work(
            address=folder.name,
            folder=ray_node.pack_cell(folder),
            inputs=attempt.inputs,
            code_parts=cells.TRAINING_CODE,
            code=self.code,
            threads=max(1, int(self.wanted.cpus)),
            gpus=self.wanted.gpus > 0,
            state_every=self.wanted.state_every,
        )
        self.running[self.task.remote(work, self.sent)] = attempt

    def _room(self) -> int:
        """How many cells to hand to Ray: twice what its nodes can run, so that a cluster that
        grows by itself does; the folders of the others wait on the disk."""
        cpus, gpus = self.wanted.cpus, self.wanted.gpus
        has = [node["Resources"] for node in self._able_nodes()]
        return 2 + 2 * sum(
            int(min(each["CPU"] / cpus, each["GPU"] / gpus if gpus else math.inf)) for each in has
        )

    def _goes_on(self, attempt: Attempt, message: ray_node.Message) -> bool:
        """Take what a node says of a cell; whether it will say more."""
        match message:
            case ray_node.Started():
                attempt.node = message.node
                for each in message.received:
                    self.on_note(f"sent {each.name} to node {message.node}")
                self.on_start(attempt.job)
                return True
            case ray_node.State():
                put_in_place(message.folder, attempt.job.folder.path)
                return True
            case ray_node.Ended():
                put_in_place(message.folder, attempt.job.folder.path)
                self._end(attempt, message)
            case ray_node.Lacks():  # it joined after the others were asked
                for each in message.inputs:
                    self._send(each, message.node)
                self._submit(attempt)
            case ray_node.Refused():
                self._fail(attempt, message.status, message.line)
        return False

    def _end(self, attempt: Attempt, message: ray_node.Ended) -> None:
        if message.status < 0 or message.status == 128 + signal.SIGTERM:
            self._again(attempt, f"its process was killed (status {message.status})")
            return
        attempt.job.folder.keep_outcome(message.status, message.seconds)
        self._report(Outcome(attempt.job, message.status, message.seconds))

    def _again(self, attempt: Attempt, why: str) -> None:
        """Run a cell that was killed once more, from the state that came back last."""
        name = attempt.job.name
        if attempt.number > RETRIES:
            self._fail(attempt, 1, f"killed {attempt.number} times, last on node {attempt.node}")
            return
        self.on_note(f"{name}: {why} on node {attempt.node}; again, {attempt.number} of {RETRIES}")
        attempt.number += 1
        self._submit(attempt)

    def _fail(self, attempt: Attempt, status: int, line: str) -> None:
        folder = attempt.job.folder
        with folder.log.open("a", encoding="utf-8") as log:
            print(f"mmsa: {line}", file=log)
        folder.keep_outcome(status, 0.0)
        self._report(Outcome(attempt.job, status, 0.0))

    def _report(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)
        self.on_end(outcome)


def _last_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[-1].strip()[:200] if lines else type(error).__name__
