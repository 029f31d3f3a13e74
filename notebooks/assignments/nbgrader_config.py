"""Settings of the assignments' nbgrader course (`nbgrader` reads them in this folder)."""

c = get_config()  # noqa: F821  (nbgrader provides it)

c.CourseDirectory.course_id = "xmr"

# An endless loop costs its own cell, not the evening; no cell of the solutions needs 10 seconds.
c.Execute.timeout = 60
c.Execute.interrupt_on_timeout = True

# nbgrader takes anything on a test's error stream for a failure. A warning, say of numpy about an
# answer that is right, must cost nothing.
c.Execute.extra_arguments = [
    "--HistoryManager.hist_file=:memory:",
    "--Application.log_level=ERROR",
    "--IPKernelApp.exec_lines=import warnings; warnings.simplefilter('ignore')",
]
