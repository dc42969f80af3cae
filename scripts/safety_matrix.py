"""Write the safety coverage matrix into README.md, from the table that its contract test runs."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.contracts.safety import README, in_readme, matrix

README.write_text(in_readme(README.read_text(encoding="utf-8")), encoding="utf-8")
print(matrix())
