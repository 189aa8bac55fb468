#!/bin/sh
# Builds target/tuned/pulsegate, the fastest there is: once to see which ways requests take, under the loads of tests/bench, and again
# with what was seen. That saves about an eighth of a request's instructions.
#
# Beside what tests/bench/run needs (it installs that as root) this needs llvm-profdata: of `rustup component add llvm-tools`,
# or of a package that reads what this compiler writes, such as Debian's llvm-19.
set -eu
cd "$(dirname "$0")/.."

host=$(rustc -vV | sed -n 's/^host: //p')
seen=$PWD/target/seen
for merge in "$(rustc --print sysroot)/lib/rustlib/$host/bin/llvm-profdata" $(ls -r -v /usr/lib/llvm-*/bin/llvm-profdata 2>/dev/null) none; do
    [ -x "$merge" ] && break
done
if [ "$merge" = none ]; then
    echo "tuned: no llvm-profdata here: rustup component add llvm-tools, or as root: apt-get install llvm-19" >&2
    exit 1
fi

# Of a target that is named, build scripts and macros are not watched.
build() {
    RUSTFLAGS=$1 cargo build --locked --profile dist --bin pulsegate --target "$host" --target-dir "target/$2"
}

rm -rf "$seen"
build "-Cprofile-generate=$seen" watched
watched=$PWD/target/watched/$host/dist/pulsegate
tests/bench/run --peers --parts requests full probes --runs 1 --seconds 2 --unpinned --binary "$watched"
tests/bench/beats.py --binary "$watched" --senders 2000
"$merge" merge -o "$seen/all.profdata" "$seen"/*.profraw
build "-Cprofile-use=$seen/all.profdata" tuned
cp "target/tuned/$host/dist/pulsegate" target/tuned/pulsegate
