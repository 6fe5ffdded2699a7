# Shared by the benchmarks: where the programs are, and what numbers are made of. Sourced, never run.

set -Eeuo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

for tool in curl awk /usr/bin/time; do
    if ! command -v "$tool" >/dev/null; then
        echo "$0: needs $tool" >&2
        exit 1
    fi
done

# Returns the build of a target, made where it is out of date: `built bin plugport`. `PROFILE=dist` measures what is shipped.
built() {
    cargo build --quiet --profile "${PROFILE:-release}" --locked --message-format json "--$1" "$2" |
        sed -n 's/.*"kind":\["'"$1"'"\].*"name":"'"$2"'".*"executable":"\([^"]*\)".*/\1/p'
}

# Returns the median of the lines of its input.
median() {
    sort -g | awk '{ line[NR] = $1 } END { print NR % 2 ? line[(NR + 1) / 2] : (line[NR / 2] + line[NR / 2 + 1]) / 2 }'
}

# Runs a program with nothing on its output; prints how long it took, in milliseconds.
milliseconds() {
    local began=$EPOCHREALTIME ended
    "$@" >/dev/null 2>&1 </dev/null
    ended=$EPOCHREALTIME
    awk -v began="$began" -v ended="$ended" 'BEGIN { printf "%.1f\n", (ended - began) * 1000 }'
}

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
