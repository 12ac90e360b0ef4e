#!/usr/bin/env bash
# Says what `make test` is about to do and how long it takes, before there is a virtual environment to say it with.
# usage: tests/outlook.sh WORKERS
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
workers=$1
cache=${XDG_CACHE_HOME:-$HOME/.cache}/admitlb

once() { echo "  once:  $1"; }

echo "make test:"
[[ -e .venv/.installed ]] || once "a virtual environment in .venv, with what pyproject.toml names: a minute"
if [[ -z ${KUBEBUILDER_ASSETS:-} ]] && ! compgen -G "$cache/control-plane/*/kube-apiserver" >/dev/null; then
    once "Kubernetes' servers into $cache: a minute where the release can be downloaded, else a build of 4 to 10"
fi
[[ -e $cache/companions/prometheus ]] || once "Prometheus: a minute"
compgen -G "$cache/roots/*frr" >/dev/null || once "FRR of two Debian releases, and BIRD: a minute or two (left out where Debian's archive is not reached)"

# Seconds by file, as an idle machine of two cores took them; what runs how is in tests/side_by_side.py.
files_of() { sed -n "/^$1 = (/,/^\"\"\"/p" tests/side_by_side.py | grep -o '"tests/[^"]*"' | tr -d '"' | tr '\n' ' '; }
awk -v alone="$(files_of ALONE)" -v labs="$(files_of LABS)" -v waiting="$(files_of WAITING)" -v workers="$workers" '
    function is_in(file, prefixes, count,    i) {
        for (i = 1; i <= count; i++) if (index(file, prefixes[i]) == 1) return 1
        return 0
    }
    BEGIN { count = split(alone, prefixes, " "); clusters = split(labs, cluster, " "); waits = split(waiting, wait, " ") }
    is_in($2, prefixes, count) { first += $1; firsts++; next }
    index($2, "tests/unit/") == 1 && !is_in($2, wait, waits) { computing += $1; files++; next }
    { rest += $1; files++; if (is_in($2, cluster, clusters)) one_by_one += $1 }
    END {
        # What computes has begun beside what runs alone, on the core that this leaves.
        rest += workers > 1 && first < computing ? computing - first : workers > 1 ? 0 : computing
        side = rest / workers > one_by_one ? rest / workers : one_by_one
        printf "  tests: %d files: first %d that measure time, one after the other: about %d min on two idle cores, beside them unit tests;\n", firsts + files, firsts, first / 60 + 0.5
        printf "         then %d side by side, each in namespaces of its own: about %d min\n", files, side / 60 + 0.5
    }' tests/durations.txt
echo "  ends with the tests that took longest, and pytest's summary; what fails is repeated by: make test PYTEST_ARGS=--last-failed"
