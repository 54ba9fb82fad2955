A worker whose ``[item …]`` sections are not its master's is refused with a line, in both logs, that says in which items they differ; it used to join, and lose the link again and again.
