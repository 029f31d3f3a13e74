"""Settings of the assignments' nbgrader course (`nbgrader` reads them in this folder)."""

c = get_config()  # noqa: F821  (nbgrader provides it)

c.CourseDirectory.course_id = "xmr"

# An endless loop costs its own cell, not the evening; no cell of the solutions needs 10 seconds.
c.Execute.timeout = 60
c.Execute.interrupt_on_timeout = True
