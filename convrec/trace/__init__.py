"""Following one conversation through all stages: from the post to the trained student's lists."""

from convrec.trace.follow import follow
from convrec.trace.line import Line, line_of, newest_line
from convrec.trace.page import trace_html, traces

__all__ = ["Line", "follow", "line_of", "newest_line", "trace_html", "traces"]
