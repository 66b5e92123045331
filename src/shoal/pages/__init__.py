"""What a person reads of runs: lists, one run's page, the table at the end of a training.

Reads folders only: neither torch nor the code that trained the runs is needed. A page is plain data first (`blocks`);
`plain` prints it as lines for a pipe, `rendered` as tables for a terminal. Text that comes from runs (names, reasons,
notes, logs) goes through `formats.clean`, and is never read as markup.
"""
