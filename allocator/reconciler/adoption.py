"""Taking over a cluster: everything that Services show is claimed for them before anything is assigned to anybody."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from allocator.allocation.claim_writer import LostRace
from allocator.kube.client import ApiError, Object, Unavailable
from allocator.kube.lease import NotCurrent, NotLeading
from allocator.process.logs import EventLog

log = EventLog("adoption")

_WORKERS = 8
_SERVER_ERRORS = 500
_RETRY_SECONDS = (0.05, 0.2, 1.0, 5.0)


class Adoption:
    """Secures many Services at once; of those that show one address the oldest first, as `secure` sees to.

    `_lock` owns `_left`, the Services not secured yet with the reason of the last failure.
    """

    def __init__(self, secure: Callable[[Object], None]) -> None:
        self._secure = secure
        self._left: dict[str, str] = {}
        self._lock = threading.Lock()
        self._stopping = threading.Event()

    def run(self, services: Sequence[Object]) -> None:
        """Secure each, trying for as long as the API server does not answer. Raises NotLeading, also when stopped.

        One that cannot be secured for a reason of its own is logged and left to its repair, which tries on: it
        must not keep all others waiting.
        """
        with self._lock:
            self._left = {_label(service): "" for service in services}
        with ThreadPoolExecutor(_WORKERS, thread_name_prefix="adopt") as pool:
            for one in [pool.submit(self._adopt, service) for service in services]:
                one.result()
        if self._stopping.is_set():
            # Whoever returns says that everything is claimed, and admission goes by it (`AdoptionMark`).
            raise NotLeading("asked to end before all that Services show was claimed")

    def stop(self) -> None:
        """End `run` soon, and any later one at once."""
        self._stopping.set()

    def problems(self) -> list[str]:
        """Say what is not claimed yet; empty before and after `run`."""
        with self._lock:
            left = dict(self._left)
        if not left:
            return []
        label, why = next(((one, said) for one, said in left.items() if said), next(iter(left.items())))
        because = f" ({label}: {why})" if why else ""
        return [f"addresses of {len(left)} Services are not claimed yet{because}"]

    def _adopt(self, service: Object) -> None:
        label = _label(service)
        failures = 0
        while not self._stopping.is_set():
            try:
                self._secure(service)
                break
            except NotCurrent as error:
                self._note(label, str(error))
                self._stopping.wait(_RETRY_SECONDS[1])
            except NotLeading:
                self._stopping.set()
                raise
            except (LostRace, ApiError) as error:
                if _of_its_own(error) and failures >= len(_RETRY_SECONDS) - 1:
                    log.warning("service.not-adopted", service=label, error=error)
                    break
                self._note(label, str(error))
                self._stopping.wait(_RETRY_SECONDS[min(failures, len(_RETRY_SECONDS) - 1)])
                failures += 1
            except Exception:
                log.exception("service.not-adopted", service=label)
                break
        with self._lock:
            self._left.pop(label, None)

    def _note(self, label: str, why: str) -> None:
        with self._lock:
            self._left[label] = why


def _of_its_own(error: LostRace | ApiError) -> bool:
    """Whether the API server refuses this Service's claim; what it cannot do now (500: etcd has no leader) passes."""
    return not isinstance(error, LostRace | Unavailable) and error.status < _SERVER_ERRORS


def _label(service: Object) -> str:
    return f"{service['metadata']['namespace']}/{service['metadata']['name']}"
