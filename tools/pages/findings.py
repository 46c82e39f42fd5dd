"""Prints the table of codes that docs/findings.md ends with."""

from bleep_cli.findings import table_of_codes

if __name__ == "__main__":
    print(table_of_codes())
