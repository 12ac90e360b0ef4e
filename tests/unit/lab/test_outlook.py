"""What `make test` says before it begins."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.durations import COMMITTED, read
from tests.side_by_side import Kind, kind_of

ROOT = Path(__file__).parents[3]


def outlook(home: Path, *, workers: int = 2) -> list[str]:
    environment = {
        name: value for name, value in os.environ.items() if name not in ("XDG_CACHE_HOME", "KUBEBUILDER_ASSETS")
    }
    script = ROOT / "tests" / "outlook.sh"
    done = subprocess.run(
        [script, str(workers)],
        env={**environment, "HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_a_machine_without_programs_hears_of_each_and_one_that_has_them_of_none(tmp_path: Path) -> None:
    missing = [line for line in outlook(tmp_path) if line.startswith("  once:")]
    assert [word for word in ("Kubernetes", "Prometheus", "FRR") if word in " ".join(missing)] == [
        "Kubernetes",
        "Prometheus",
        "FRR",
    ]
    cache = tmp_path / ".cache" / "admitlb"
    for made in ("control-plane/v1.20.2-built/kube-apiserver", "companions/prometheus", "roots/bookworm-frr/usr"):
        (cache / made).parent.mkdir(parents=True, exist_ok=True)
        (cache / made).touch()
    assert not [
        line for line in outlook(tmp_path) if "control-plane" in line or "Prometheus" in line or "FRR" in line
    ]


def test_it_counts_what_runs_alone(tmp_path: Path) -> None:
    (line,) = (line for line in outlook(tmp_path) if "one after the other" in line)
    alone = [file for file in read(COMMITTED) if kind_of(file) is Kind.ALONE]
    assert f"first {len(alone)} that measure time" in line


def test_with_any_number_of_workers_it_takes_as_long_as_the_labs_do(tmp_path: Path) -> None:
    labs = sum(seconds for file, seconds in read(COMMITTED).items() if kind_of(file) is Kind.LAB)
    assert side_by_side_minutes(tmp_path, workers=100) == int(labs / 60 + 0.5) > 0


def test_more_workers_take_less_time(tmp_path: Path) -> None:
    assert side_by_side_minutes(tmp_path, workers=1) > side_by_side_minutes(tmp_path, workers=4) > 0


def side_by_side_minutes(home: Path, *, workers: int) -> int:
    (line,) = (line for line in outlook(home, workers=workers) if "side by side" in line)
    return int(line.partition("about ")[2].split()[0])
