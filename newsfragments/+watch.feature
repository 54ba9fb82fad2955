The master notices at once when a carried file changes, by inotify, and tells the workers: a change is in
place everywhere in a fraction of a second, not at the next interval. Where the system cannot tell (no inotify, too few
watches, a network file system) it says so in the log, and the interval finds changes as before.
