"""What an import of floodtest.analysis takes along."""

import subprocess
import sys


def test_the_library_is_imported_without_what_draws_and_writes_pages() -> None:
    looked = "{'matplotlib', 'jinja2', 'floodtest.analysis.pages'} & set(sys.modules)"
    code = f"import sys, floodtest.analysis; print({looked})"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
