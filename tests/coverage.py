#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""coverage.py BUILD FOLDER MINIMUM: the share of FOLDER's lines that unit tests and corpora execute.

BUILD is a build with -DCOVERAGE=ON. Prints a table, a line for each file with the lines that nothing
reached, and fails where the whole is below MINIMUM per cent.
"""
import json
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent


def execute(build):
    """Runs what counts, from zero. Torture's own part is a sample: each allocation is another test's."""
    for count in build.rglob("*.gcda"):
        count.unlink()
    for program in sorted((build / "bin").glob("unit_*")):
        arguments = ["--every", "100"] if program.name == "unit_torture" else []
        run([program, *arguments])
    for program in sorted((build / "bin").glob("fuzz_*")):
        run([program, ROOT / "tests/fuzz/corpus" / program.name.removeprefix("fuzz_")])


def run(command):
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=3600)
    if done.returncode:
        sys.exit(f"coverage: {command[0].name} ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")


def lines_of(build, folder):
    """{file: {line: times}} of every object's counts; a line counts where any object reached it."""
    found = {}
    for note in build.rglob("*.gcno"):
        text = subprocess.run(["gcov", "--json-format", "--stdout", note], cwd=build, capture_output=True,
                              text=True, check=True).stdout
        for document in filter(None, text.splitlines()):
            for source in json.loads(document)["files"]:
                path = (build / source["file"]).resolve()
                if ROOT / folder not in path.parents:
                    continue
                lines = found.setdefault(str(path.relative_to(ROOT)), {})
                for line in source["lines"]:
                    number = line["line_number"]
                    lines[number] = lines.get(number, 0) + line["count"]
    return found


def spans(numbers):
    """[1, 2, 3, 7] as "1-3 7"."""
    out = []
    for number in numbers:
        if out and out[-1][1] == number - 1:
            out[-1][1] = number
        else:
            out.append([number, number])
    return " ".join(str(a) if a == b else f"{a}-{b}" for a, b in out)


def main():
    build, folder, minimum = pathlib.Path(sys.argv[1]).resolve(), sys.argv[2], float(sys.argv[3])
    execute(build)
    reached = total = 0
    for path, lines in sorted(lines_of(build, folder).items()):
        hit = sum(1 for times in lines.values() if times)
        reached, total = reached + hit, total + len(lines)
        missed = spans(sorted(number for number, times in lines.items() if not times))
        print(f"{100 * hit / len(lines):6.1f} %  {hit:4} of {len(lines):4}  {path}  {missed}")
    if not total:
        sys.exit(f"coverage: {build} holds no counts: build it with cmake --preset coverage")
    share = 100 * reached / total
    print(f"{share:6.1f} %  {reached:4} of {total:4}  {folder}: lines executed by unit tests and corpora")
    if share < minimum:
        sys.exit(f"coverage: {folder} is below {minimum:.0f} %")


main()
